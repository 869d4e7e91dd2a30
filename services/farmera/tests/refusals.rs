//! What cannot work is refused in one clear line, with the promised exit code. No server is needed for that.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Output};
use std::thread;

/// A service's environment that is complete; nothing listens on port 1.
const SOUND: [(&str, &str); 5] = [
    ("FARMERA_DATABASE_URL", "postgres://farmera:secret@127.0.0.1:1/farmera"),
    ("FARMERA_NATS_URL", "nats://127.0.0.1:1"),
    ("FARMERA_GRPC_ADDRESS", "127.0.0.1:0"),
    ("FARMERA_ADMIN_ADDRESS", "127.0.0.1:0"),
    ("FARMERA_PAYMENT__SANDBOX", "true"),
];

fn farmera(arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_farmera"));
    command.args(arguments).env_clear().envs(environment.iter().copied());
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code().unwrap(), String::from_utf8(stderr).unwrap())
}

fn with<'a>(changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    SOUND.iter().chain(changes).copied().collect()
}

#[test]
fn a_missing_variable_is_named() {
    let (code, line) = farmera(&["run", "orders"], &[]);
    assert_eq!(code, 2);
    assert!(line.starts_with("error: FARMERA_ORDERS__DATABASE_URL is not set"), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
}

#[test]
fn a_bad_value_is_named_with_what_would_do() {
    let (code, line) = farmera(&["run", "orders"], &with(&[("FARMERA_ORDERS__GRPC_ADDRESS", "50052")]));
    let expected = "error: FARMERA_ORDERS__GRPC_ADDRESS is \"50052\": expected an address such as 0.0.0.0:50052\n";
    assert_eq!((code, line.as_str()), (2, expected));
}

#[test]
fn nobody_plays_with_money_who_was_not_told_to() {
    let (code, line) = farmera(&["run", "payment"], &with(&[("FARMERA_PAYMENT__SANDBOX", "false")]));
    assert!(code == 2 && line.starts_with("error: FARMERA_PAYMENT__PROVIDER_URL is not set: "), "{line}");
    assert!(line.contains("FARMERA_PAYMENT__SANDBOX=true") && line.lines().count() == 1, "{line}");
}

#[test]
fn a_taken_port_is_named_with_the_variable_that_moves_it() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, line) = farmera(&["run", "payment"], &with(&[("FARMERA_PAYMENT__GRPC_ADDRESS", &address)]));
    assert_eq!(code, 2);
    assert!(line.contains(&address) && line.contains("FARMERA_PAYMENT__GRPC_ADDRESS"), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
}

#[test]
fn an_old_nats_server_is_refused_with_both_versions() {
    let old = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("nats://{}", old.local_addr().unwrap());
    let serving = thread::spawn(move || greet_as_2_9(&old));
    let (code, line) = farmera(&["run", "products"], &with(&[("FARMERA_NATS_URL", &url), ("FARMERA_LOG", "error")]));
    serving.join().unwrap();
    assert_eq!(code, 2);
    assert_eq!(line, "error: products: nats-server 2.9.10 is too old: 2.14 or newer is needed\n");
}

/// Says what a nats-server 2.9.10 says, and answers the first ping.
fn greet_as_2_9(listener: &TcpListener) {
    let (mut stream, _) = listener.accept().unwrap();
    let info = r#"{"server_id":"OLD","server_name":"old","version":"2.9.10","proto":1,"go":"go1.19","host":"127.0.0.1","port":4222,"headers":true,"max_payload":1048576}"#;
    stream.write_all(format!("INFO {info}\r\n").as_bytes()).unwrap();
    let lines = BufReader::new(stream.try_clone().unwrap()).lines();
    if lines.map_while(Result::ok).any(|line| line == "PING") {
        stream.write_all(b"PONG\r\n").unwrap();
    }
}

#[test]
fn a_service_that_is_away_is_named_with_its_address() {
    let (code, line) = farmera(&["order", "list", "--orders-url", "http://127.0.0.1:1"], &[]);
    assert_eq!(code, 7);
    assert!(line.starts_with("error: orders does not answer at http://127.0.0.1:1 "), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
}

#[test]
fn a_database_that_is_away_is_no_fault_of_the_configuration() {
    for command in ["migrate", "parked"] {
        let (code, line) = farmera(&[command, "orders"], &SOUND);
        assert_eq!(code, 7);
        assert!(line.starts_with("error: orders: the database does not answer"), "{line}");
    }
}

#[test]
fn wrong_usage_has_exit_code_2() {
    assert_eq!(farmera(&["run", "nothing"], &[]).0, 2);
    assert_eq!(farmera(&["bench", "--declined", "2"], &[]).0, 2);
    assert_eq!(farmera(&["bench", "--lines", "70"], &[]).0, 2);
}
