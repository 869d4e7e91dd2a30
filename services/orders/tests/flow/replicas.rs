//! Two processes over one log, each of which knows only half of what happens by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use orders::domain::Stage;
use orders::handler::place_saga_id;
use orders::sagas::{AUTHORIZE_PAYMENT, CAPTURE_PAYMENT, COMMIT_INVENTORY, NOTIFY, RESERVE_INVENTORY};
use tracing::subscriber::Interest;
use tracing::{Level, Metadata, Subscriber, span};

use crate::support::{ORDER, World, beside};

/// Counts what an operator would be woken for.
#[derive(Clone, Default)]
struct Errors(Arc<AtomicUsize>);

impl Subscriber for Errors {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::always()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        if *event.metadata().level() == Level::ERROR {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[tokio::test]
async fn fair_weather_at_two_replicas_is_no_error_whichever_of_them_hears_an_answer() {
    let errors = Errors::default();
    let _counting = tracing::subscriber::set_default(errors.clone());
    let steps = [RESERVE_INVENTORY, AUTHORIZE_PAYMENT, CAPTURE_PAYMENT, COMMIT_INVENTORY, NOTIFY];
    for hearers in 0..1_u32 << steps.len() {
        let (one, working) = World::new();
        let (other, working_too) = World::over(Arc::clone(&one.store));
        let both = async {
            tokio::join!(working, working_too);
        };
        let story = async {
            one.place().await;
            for (number, step) in steps.iter().enumerate() {
                let hearer = if hearers >> number & 1 == 0 { &one } else { &other };
                hearer.done(place_saga_id(ORDER), step).await;
            }
            assert_eq!(one.stage().await, Stage::Completed, "{hearers:05b}");
        };
        Box::pin(beside(both, story)).await;
        assert_eq!(errors.0.load(Ordering::Relaxed), 0, "{hearers:05b}");
    }
}
