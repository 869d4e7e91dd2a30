//! What a stream has to be like for us. The rest is its operator's: replicas, placement, bytes, compression, descriptions.

use std::fmt::Debug;
use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};

use super::{MAX_AGE, STREAMS};

const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
/// As the server says it.
const UNLIMITED: i64 = -1;

/// The stream of this name as it is made; `None` for one that is not declared.
pub(super) fn declared(name: &str) -> Option<Config> {
    let (name, subjects, _) = STREAMS.iter().find(|(declared, ..)| *declared == name)?;
    Some(Config {
        name: (*name).to_owned(),
        subjects: vec![(*subjects).to_owned()],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        discard: DiscardPolicy::New,
        max_messages: UNLIMITED,
        max_messages_per_subject: UNLIMITED,
        max_message_size: -1,
        max_age: MAX_AGE,
        duplicate_window: DUPLICATE_WINDOW,
        ..Config::default()
    })
}

/// `found` with what is ours as it is in `declared`, and what differed, for people; nothing else is changed.
pub(super) fn repaired(found: &Config, declared: &Config) -> (Config, Vec<String>) {
    let mut config = found.clone();
    let mut differences = Vec::new();
    let found = &mut differences;
    set(found, "subjects", &mut config.subjects, &declared.subjects);
    set(found, "retention", &mut config.retention, &declared.retention);
    set(found, "discard", &mut config.discard, &declared.discard);
    set(found, "discard_new_per_subject", &mut config.discard_new_per_subject, &declared.discard_new_per_subject);
    set(found, "max_msgs", &mut config.max_messages, &declared.max_messages);
    set(found, "max_msgs_per_subject", &mut config.max_messages_per_subject, &declared.max_messages_per_subject);
    set(found, "max_msg_size", &mut config.max_message_size, &declared.max_message_size);
    set(found, "max_age", &mut config.max_age, &declared.max_age);
    set(found, "duplicate_window", &mut config.duplicate_window, &declared.duplicate_window);
    set(found, "no_ack", &mut config.no_ack, &declared.no_ack);
    set(found, "subject_transform", &mut config.subject_transform, &declared.subject_transform);
    (config, differences)
}

fn set<T: PartialEq + Clone + Debug>(differences: &mut Vec<String>, name: &str, found: &mut T, declared: &T) {
    if found != declared {
        differences.push(format!("{name} is {found:?} instead of {declared:?}"));
        found.clone_from(declared);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ours_is_put_right_and_named_and_what_is_the_operators_stays() {
        let declared = declared("FARMERA_ORDERS").unwrap();
        let edited = Config {
            max_messages: 3,
            max_age: Duration::from_secs(2),
            num_replicas: 3,
            max_bytes: 1 << 30,
            description: Some("ana's".to_owned()),
            ..declared.clone()
        };
        let (config, differences) = repaired(&edited, &declared);
        assert_eq!(differences, ["max_msgs is 3 instead of -1", "max_age is 2s instead of 604800s"]);
        assert_eq!((config.max_messages, config.max_age), (-1, MAX_AGE));
        assert_eq!((config.num_replicas, config.max_bytes, config.description), (3, 1 << 30, edited.description));
        assert!(repaired(&declared, &declared).1.is_empty());
    }
}
