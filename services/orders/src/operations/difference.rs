//! What is different between two states, as JSON.

use farmera_proto::saga::v1::diff_saga_response::Change;
use serde_json::Value;

/// Differences told at most.
const CHANGES_MAX: usize = 2_000;

/// Every place at which `before` and `after` differ, by JSON pointer, in the order of the document.
#[must_use]
pub fn changes(before: &Value, after: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    compare(String::new(), Some(before), Some(after), &mut found);
    found
}

fn compare(path: String, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Change>) {
    if before == after || found.len() >= CHANGES_MAX {
        return;
    }
    match (before, after) {
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let new = after.keys().filter(|key| !before.contains_key(*key));
            for key in before.keys().chain(new) {
                let escaped = key.replace('~', "~0").replace('/', "~1");
                compare(format!("{path}/{escaped}"), before.get(key), after.get(key), found);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            for index in 0..before.len().max(after.len()) {
                compare(format!("{path}/{index}"), before.get(index), after.get(index), found);
            }
        }
        (before, after) => {
            let text = |value: Option<&Value>| value.map(ToString::to_string).unwrap_or_default();
            found.push(Change { path, before_json: text(before), after_json: text(after) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_differs_is_told_with_its_place() {
        let before = json!({"Running": {"steps": [{"phase": "Asked"}], "paused": null, "a/b": 1}});
        let after = json!({"Running": {"steps": [{"phase": "Done"}, {"phase": "Asked"}], "paused": null, "a/b": 2}});
        let told: Vec<_> = changes(&before, &after)
            .into_iter()
            .map(|c| format!("{} {} {}", c.path, c.before_json, c.after_json))
            .collect();
        assert_eq!(
            told,
            [
                "/Running/a~1b 1 2",
                "/Running/steps/0/phase \"Asked\" \"Done\"",
                "/Running/steps/1  {\"phase\":\"Asked\"}"
            ]
        );
        assert_eq!(changes(&after, &after), []);
    }
}
