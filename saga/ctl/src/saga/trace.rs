//! `sagactl saga trace`: everything that a saga led to, as a tree.

use clap::Args;
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::trace_saga_response::Node;

use crate::failure::Failure;

use crate::output::words::{clock, counted, harmless, time};
use crate::output::{Format, Listed, json_line};
use crate::session::Session;

use super::find_id;

/// Deeper than this a tree is drawn as if it were this deep.
const DEPTH_MAX: u32 = 40;

/// Of which saga.
#[derive(Args, Debug)]
pub struct Trace {
    /// A saga's id, or its order's.
    pub id: String,
}

/// Asks and prints.
///
/// # Errors
/// [`Failure`] of the server; [`Failure::Partly`] when a service could not be asked.
pub async fn command(trace: Trace, session: &mut Session) -> Result<(), Failure> {
    let server = session.server()?;
    let saga_id = find_id(&server, &trace.id).await?;
    let answer = server.ask(server.sagas().trace_saga(pb::TraceSagaRequest { saga_id })).await?;
    let out = &mut session.out;
    match out.format {
        Format::Jsonl => {
            for node in &answer.nodes {
                out.line(json_line(node)?)?;
            }
        }
        Format::Name => {
            for event in answer.nodes.iter().filter_map(|node| node.event.as_ref()) {
                out.line(Listed::name(event))?;
            }
        }
        Format::Json | Format::Yaml => drop(out.whole("trace", &answer)?),
        Format::Table | Format::Wide => {
            for line in tree(&answer.nodes, out.now) {
                out.line(line)?;
            }
            out.tell(format!(
                "{}. One of them whole: sagactl event get saga/ID@VERSION",
                counted(answer.nodes.len() as u64, "event")
            ))?;
        }
    }
    if answer.missing_services.is_empty() {
        return Ok(());
    }
    let missing = harmless(&answer.missing_services.join(", "));
    Err(Failure::Partly(format!("{missing} could not be asked: what was done there is missing")))
}

fn tree(nodes: &[Node], now: chrono::DateTime<chrono::Utc>) -> Vec<String> {
    let width = nodes.iter().map(|node| 2 * node.depth.min(DEPTH_MAX) as usize + name(node).chars().count()).max();
    let width = width.unwrap_or(0);
    nodes
        .iter()
        .map(|node| {
            let event = node.event.clone().unwrap_or_default();
            let indent = 2 * node.depth.min(DEPTH_MAX) as usize;
            let branch = format!("{}{}", " ".repeat(indent), name(node));
            let at = time(event.time.as_ref()).map(|at| clock(at, now)).unwrap_or_default();
            let stream = format!("{}/{} v{}", harmless(&event.category), harmless(&event.stream_id), event.version);
            format!("{at}  {branch:<width$}  {:<12}  {stream}", harmless(&event.service))
        })
        .collect()
}

fn name(node: &Node) -> String {
    harmless(node.event.as_ref().map_or("", |event| &event.r#type))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_led_to_what_is_told_by_its_place() {
        let node = |depth, name: &str, service: &str| Node {
            event: Some(pb::Event {
                r#type: name.to_owned(),
                service: service.to_owned(),
                category: "saga".to_owned(),
                stream_id: "7".to_owned(),
                version: 1,
                time: Some(pbjson_types::Timestamp { seconds: 1, nanos: 0 }),
                ..pb::Event::default()
            }),
            depth,
            parent_id: String::new(),
        };
        let nodes = [node(0, "OrderPlaced", "orders"), node(1, "StockReserved", "products")];
        let now = chrono::DateTime::UNIX_EPOCH;
        let at = clock(now + chrono::TimeDelta::seconds(1), now);
        let expected = [
            format!("{at}  OrderPlaced      orders        saga/7 v1"),
            format!("{at}    StockReserved  products      saga/7 v1"),
        ];
        assert_eq!(tree(&nodes, now), expected);
    }
}
