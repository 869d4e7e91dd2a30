//! An operator looks: `sagactl` as a process against everything that `farmera up` starts.

#[path = "support/stack.rs"]
mod stack;
mod support;

use std::fs::File;
use std::process::Stdio;

use chrono::DateTime;
use stack::{Ground, PROVIDER_AWAY};
use support::operator::id;
use tokio::io::{AsyncBufReadExt as _, BufReader};

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_is_listed_shown_and_drawn() {
    let ground = Ground::start(&[]).await;
    let done = ground.place("tok_success").await;
    let refused = ground.place("tok_declined").await;
    assert_eq!(ground.sagactl(&["saga", "wait", &done.saga_id]).await.code, 0);
    let waited = ground.sagactl(&["saga", "wait", &refused.saga_id]).await;
    assert_eq!(waited.code, 8, "{waited:?}");

    // The read model may be a moment behind.
    let listed =
        ground.until(&["saga", "list"], |said| said.out.contains("COMPENSATED") && said.out.contains("COMPLETED"));
    let listed = listed.await;
    assert!(listed.out.starts_with("NAME ") && listed.out.contains(&done.saga_id), "{}", listed.out);
    assert!(listed.err.contains("2 of 2") && listed.err.contains("exposure -"), "{}", listed.err);
    let names = ground.well(&["saga", "list", "-q", "state = COMPENSATED", "-o", "name"]).await;
    assert_eq!(names, format!("saga/{}\n", refused.saga_id));
    let counted = ground.json(&["saga", "count", "--by", "state"]).await;
    assert_eq!(counted["count"], "2");

    let shown = ground.well(&["saga", "show", &refused.saga_id]).await;
    assert!(shown.contains("REFUSED") && shown.contains("undone"), "{shown}");
    // An order's id does as well as a saga's.
    let shown = ground.well(&["saga", "show", &refused.id, "--events"]).await;
    assert!(shown.contains("authorize-payment") && shown.contains("rejected"), "{shown}");
    let early = ground.well(&["saga", "show", &refused.saga_id, "--at", "2"]).await;
    assert!(early.contains("version 2 of"), "{early}");
    let followed = ground.well(&["saga", "show", &done.saga_id, "--follow"]).await;
    assert!(followed.contains("completed"), "{followed}");

    let drawn = ground.well(&["saga", "graph", &refused.saga_id]).await;
    assert!(drawn.contains("[authorize-payment X ]") && drawn.contains("<== undo OK"), "{drawn}");
    for (format, sign) in [("mermaid", "flowchart LR"), ("dot", "digraph"), ("svg", "<svg ")] {
        assert!(ground.well(&["saga", "graph", &done.saga_id, "--format", format]).await.contains(sign), "{format}");
    }
    let explained = ground.well(&["saga", "explain", &refused.saga_id]).await;
    assert!(explained.starts_with("COMPENSATED ") && explained.contains("Holds   nothing"), "{explained}");
    let changed = ground.well(&["saga", "diff", &refused.saga_id, "1", "3"]).await;
    assert!(changed.contains("version 1 to 3"), "{changed}");
    ground.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_answered_has_its_exit_code_and_one_line() {
    let ground = Ground::start(&[]).await;
    let unknown = id();
    for arguments in [["saga", "show"], ["saga", "explain"], ["saga", "wait"], ["saga", "graph"]] {
        let said = ground.sagactl(&[arguments[0], arguments[1], &unknown]).await;
        assert_eq!((said.code, said.err.lines().count()), (3, 1), "{arguments:?}: {said:?}");
    }
    let said = ground.sagactl(&["saga", "list", "-q", "state = PARKED AND sate = 1"]).await;
    assert_eq!((said.code, said.out.as_str()), (2, ""), "{said:?}");
    let lines: Vec<_> = said.err.lines().collect();
    assert_eq!(lines[1..], ["  state = PARKED AND sate = 1", "                     ^"], "{}", said.err);
    ground.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_cannot_be_written_leaves_nothing_behind() {
    let ground = Ground::start(&[]).await;
    let order = ground.place("tok_success").await;
    assert_eq!(ground.sagactl(&["saga", "wait", &order.saga_id]).await.code, 0);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.jsonl");
    let path = file.to_str().unwrap();
    ground.well(&["event", "export", "--saga", &order.saga_id, "--to-file", path]).await;
    let text = std::fs::read_to_string(&file).unwrap();
    let events: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.iter().any(|event| event["type"] == "SagaStarted"), "{text}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "the draft is gone");

    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut export = ground.command(&["event", "export"]);
    let output = export.stdout(full).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    let said = ground.sagactl(&["event", "export", "--to-file", "/dev/full"]).await;
    assert_eq!((said.code, said.err.lines().count()), (1, 1), "{said:?}");
    assert!(said.err.contains("No space left on device"), "{}", said.err);

    let grepped = ground.well(&["event", "grep", "--type", "SagaS*", "-o", "name"]).await;
    assert!(grepped.lines().count() == 1, "{grepped}");
    let got = ground.well(&["event", "get", grepped.trim()]).await;
    assert!(got.starts_with("SagaStarted saga/"), "{got}");
    let unnamed = ground.sagactl(&["event", "get", "saga/7"]).await;
    assert_eq!((unnamed.code, unnamed.err.lines().count()), (2, 1), "{unnamed:?}");
    let mut tail = ground.command(&["event", "tail", "--last", "1", "-o", "jsonl"]);
    let mut tail = tail.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    assert!(lines.next_line().await.unwrap().unwrap().contains("\"type\""));
    tail.kill().await.unwrap();
    ground.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_sagas_run_on_can_be_looked_at() {
    let ground = Ground::start(&PROVIDER_AWAY).await;
    let order = ground.place("tok_success").await;
    ground.until(&["saga", "list"], |said| said.out.contains("authorize-payment")).await;
    let timers = ground.well(&["timer", "list"]).await;
    assert!(timers.contains(&order.saga_id) && timers.contains("in "), "{timers}");
    assert!(ground.well(&["def", "list"]).await.contains("place-order@1"));
    let definition = ground.well(&["def", "show", "place-order"]).await;
    assert!(definition.contains("authorize-payment") && definition.contains("no way back"), "{definition}");
    assert!(ground.well(&["def", "graph", "place-order"]).await.contains("(no way back)"));
    assert_eq!(ground.sagactl(&["def", "show", "nothing"]).await.code, 3);
    let models = ground.well(&["projection", "list"]).await;
    for name in ["orders/saga_view", "products/catalogue", "payment/payment_view", "notification/notification_view"] {
        assert!(models.contains(name), "{name}: {models}");
    }
    assert!(!ground.well(&["projection", "list", "--service", "payment"]).await.contains("orders/"));
    let ways = ground.well(&["transport", "status", "-o", "name"]).await;
    assert_eq!(ways.lines().collect::<Vec<_>>(), ["orders", "products", "payment", "notification"]);
    let away = |said: &support::Said| said.code == 7 && said.err.contains("payment: provider: ");
    let services = ground.until(&["service", "list"], away).await;
    assert!(
        services.err.contains("1 of 4 do not serve: payment: provider: the payment provider has not answered for ")
    );
    assert!(services.out.matches("SERVING").count() == 4 && services.out.matches("NOT_SERVING").count() == 1);
    assert!(ground.well(&["version"]).await.contains("orders "));
    assert_eq!(ground.sagactl(&["dlq", "groups"]).await.code, 0);
    assert_eq!(ground.sagactl(&["dlq", "show", "payment/7"]).await.code, 3);
    let screen = ground.well(&["top", "--once"]).await;
    assert!(screen.contains("IN FLIGHT") && screen.contains("authorize-payment"), "{screen}");
    ground.stop().await;
}

/// Zones without a database of zones: POSIX has them as rules.
#[tokio::test(flavor = "multi_thread")]
async fn people_see_times_of_their_zone_which_they_say_and_programs_see_utc() {
    let ground = Ground::start(&[]).await;
    let order = ground.place("tok_success").await;
    assert_eq!(ground.sagactl(&["saga", "wait", &order.saga_id]).await.code, 0);
    let said = async |zone: &str, arguments: &[&str]| {
        let output = ground.command(arguments).env("TZ", zone).output().await.unwrap();
        assert!(output.status.success(), "TZ={zone} sagactl {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let named = ground.well(&["event", "grep", "--type", "SagaStarted", "-o", "name"]).await;
    let event = named.trim();
    let utc = said("UTC0", &["event", "get", event, "-o", "json"]).await;
    let parsed: serde_json::Value = serde_json::from_str(&utc).unwrap();
    let time = DateTime::parse_from_rfc3339(parsed["time"].as_str().unwrap()).unwrap();
    for (zone, shown) in [("UTC0", "Z"), ("IST-5:30", "+05:30"), ("EST5", "-05:00")] {
        let got = said(zone, &["event", "get", event]).await;
        let at = got.lines().next().unwrap().rsplit(' ').next().unwrap();
        assert!(at.ends_with(shown), "TZ={zone}: {got}");
        let at = DateTime::parse_from_rfc3339(at).unwrap();
        assert_eq!(at, time, "TZ={zone}");
        let clock = format!("{}{shown} ", at.format("%H:%M:%S%.3f"));
        for table in [["event", "grep", "--type", "SagaStarted"].as_slice(), &["saga", "trace", &order.saga_id]] {
            let table = said(zone, table).await;
            assert!(table.contains(&clock), "TZ={zone}: {clock} in {table}");
        }
        assert_eq!(said(zone, &["event", "get", event, "-o", "json"]).await, utc, "TZ={zone}");

        // What is typed without a zone is of the same one, and what is shown can be asked for.
        let typed = at.format("%Y-%m-%d %H:%M:%S%.6f").to_string();
        let query = format!("started = {}", at.to_rfc3339());
        for arguments in [["saga", "show", &order.saga_id, "--at", &typed].as_slice(), &["saga", "list", "-q", &query]]
        {
            let found = said(zone, arguments).await;
            assert!(found.contains(&order.saga_id), "TZ={zone} {arguments:?}: {found}");
        }
    }
    ground.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_before_a_command_was_typed_is_in_its_list_and_count() {
    let ground = Ground::start(&[]).await;
    for number in 1..=6 {
        let order = ground.place("tok_success").await;
        let listed = ground.well(&["saga", "list", "-o", "name"]).await;
        assert!(listed.contains(&order.saga_id), "order {number}: {listed}");
        ground.place("tok_success").await;
        let counted = ground.json(&["saga", "count"]).await;
        assert_eq!(counted["count"], (2 * number).to_string(), "after order {}", 2 * number);
    }
    ground.stop().await;
}
