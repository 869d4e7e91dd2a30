//! Events as a tree: what led to what.

use std::collections::{HashMap, HashSet};

use farmera_proto::saga::v1 as pb;
use pb::trace_saga_response::Node;

/// Parents before their children, siblings by time and then by stream and version.
///
/// An event's parent is the event whose message led to it. Events of one commit have the same cause and are siblings.
#[must_use]
pub fn tree(mut events: Vec<pb::Event>) -> Vec<Node> {
    let time = |event: &pb::Event| event.time.as_ref().map_or((0, 0), |time| (time.seconds, time.nanos));
    events.sort_by(|one, other| {
        let place = |event: &pb::Event| (time(event), event.stream_id.clone(), event.version);
        place(one).cmp(&place(other))
    });
    let known: HashSet<String> = events.iter().map(|event| event.id.clone()).collect();
    let mut children: HashMap<String, Vec<pb::Event>> = HashMap::new();
    let mut roots = Vec::new();
    for event in events {
        if known.contains(&event.causation_id) && event.causation_id != event.id {
            children.entry(event.causation_id.clone()).or_default().push(event);
        } else {
            roots.push(event);
        }
    }
    // A stack of what is still to be told, last first: no recursion, however long a chain is.
    let mut stack: Vec<(pb::Event, u32, String)> =
        roots.into_iter().rev().map(|event| (event, 0, String::new())).collect();
    let mut nodes = Vec::new();
    while let Some((event, depth, parent_id)) = stack.pop() {
        let below = children.remove(&event.id).unwrap_or_default();
        stack.extend(below.into_iter().rev().map(|child| (child, depth + 1, event.id.clone())));
        nodes.push(Node { event: Some(event), depth, parent_id });
    }
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, cause: &str, seconds: i64) -> pb::Event {
        pb::Event {
            id: id.to_owned(),
            causation_id: cause.to_owned(),
            time: Some(pbjson_types::Timestamp { seconds, nanos: 0 }),
            ..pb::Event::default()
        }
    }

    #[test]
    fn what_led_to_something_stands_above_it() {
        let events = vec![
            event("reply", "request", 3),
            event("placed", "command", 1),
            event("request", "placed", 2),
            event("x", "placed", 1),
        ];
        let told: Vec<_> = tree(events).into_iter().map(|node| (node.event.unwrap().id, node.depth)).collect();
        let expected = [("placed", 0), ("x", 1), ("request", 1), ("reply", 2)];
        assert_eq!(told, expected.map(|(id, depth)| (id.to_owned(), depth)));
    }

    #[test]
    fn a_ring_of_causes_hides_no_other_event() {
        let told = tree(vec![event("a", "b", 1), event("b", "a", 2), event("c", "-", 3)]);
        assert_eq!(told.len(), 1, "a ring has no root and is left out");
    }
}
