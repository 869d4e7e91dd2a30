//! The manners of the command line: what can be said and read without any server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::Path;

use clap::{Command, CommandFactory as _};
use sagactl::cli::Cli;
use support::{command, golden, sagactl};

const NOWHERE: [(&str, &str); 1] = [("FARMERA_ORDERS_URL", "http://127.0.0.1:1")];

fn here(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Every command with its help, as a page. What holds everywhere stands once, at the top.
fn page(command: &mut Command, path: &str, text: &mut String) {
    let help = command.render_long_help().to_string();
    let help = help.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    let own = help.split("\nEverywhere:").next().unwrap_or_default().trim_end();
    let shown = if path == "sagactl" { help.trim_end() } else { own };
    writeln!(text, "## {path}\n\n```text\n{shown}\n```\n").unwrap();
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    for name in names.iter().filter(|name| *name != "help") {
        page(command.find_subcommand_mut(name).unwrap(), &format!("{path} {name}"), text);
    }
}

#[test]
fn the_reference_in_the_docs_is_what_the_program_says() {
    let mut command = Cli::command();
    command.build();
    let mut text =
        "# sagactl\n\nMade from the program itself (`saga/ctl/tests/manners.rs`); a test keeps it in step.\n\n"
            .to_owned();
    page(&mut command, "sagactl", &mut text);
    golden(&here("../../docs/cli/sagactl.md"), &format!("{}\n", text.trim_end()));
}

#[test]
fn every_refusal_is_one_clear_line_with_its_exit_code() {
    let cases: &[&[&str]] = &[
        &["saga", "retry", "7", "--reason", "r"],
        &["saga", "retry", "7", "--plan"],
        &["saga", "retry", "--reason", "r", "--plan"],
        &["saga", "cancel", "-q", " ", "--reason", "r", "--plan"],
        &["saga", "list", "--context", "far"],
        &["saga", "list", "--orders-url", "50052"],
        &["saga", "list", "--orders-url", "https://o:1", "--tls-ca", "/nonexistent/ca.pem"],
        &["saga", "list", "--orders-url", "https://o:1", "--tls-key", "/nonexistent/key.pem"],
        &["saga", "list", "--token-file", "/nonexistent/token"],
        &["saga", "list", "--actor", "añá"],
        &["saga", "list"],
        &["saga", "show", "7"],
        &["saga", "wait", "7"],
        &["saga", "retry", "--apply", "7f3c1e001122"],
        &["op", "list"],
        &["dlq", "show", "first"],
        &["event", "grep", "--from", "7"],
        &["event", "export", "--to-file", "/nonexistent/events.jsonl"],
        &[
            "service",
            "list",
            "-o",
            "name",
            "--products-url",
            "http://127.0.0.1:1",
            "--payment-url",
            "http://127.0.0.1:1",
            "--notification-url",
            "http://127.0.0.1:1",
        ],
        &["context", "add", "near"],
        &["context", "use", "far"],
    ];
    let mut shown = String::new();
    for arguments in cases {
        let said = sagactl(arguments, if arguments == &["context", "add", "near"] { &[] } else { &NOWHERE });
        assert_eq!(said.err.lines().count(), 1, "{arguments:?}: {}", said.err);
        assert!(said.code != 0 && said.err.starts_with("error: "), "{arguments:?}: {said:?}");
        writeln!(shown, "$ sagactl {}\n{}exit code {}\n", arguments.join(" "), said.err, said.code).unwrap();
    }
    golden(&here("tests/golden/refusals.txt"), &shown);
}

#[test]
fn wrong_usage_has_exit_code_2_and_says_what_would_do() {
    for arguments in [
        &["saga", "fly"] as &[&str],
        &["saga", "list", "--sort", "colour"],
        &["saga", "show"],
        &["saga", "list", "--watch=soon"],
        &["saga", "show", "7", "--at", "yesterday"],
        &["saga", "retry", "--plan", "--apply", "7"],
        &["saga", "retry", "7", "--plan", "--rate", "5/s"],
        &["saga", "retry", "--apply", "7", "--rate", "0"],
        &["timer", "shift", "7", "--plan", "--reason", "r"],
        &["saga", "list", "-o", "xml"],
    ] {
        let said = sagactl(arguments, &[]);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{arguments:?}");
        assert!(said.err.contains("--help") || said.err.contains("possible values"), "{arguments:?}: {}", said.err);
    }
}

#[test]
fn a_server_that_is_away_is_named_with_its_address() {
    let said = sagactl(&["saga", "list"], &NOWHERE);
    assert_eq!((said.code, said.out.as_str()), (7, ""));
    assert!(said.err.starts_with("error: orders does not answer at http://127.0.0.1:1 ("), "{}", said.err);
}

#[test]
fn a_server_that_never_answers_is_given_up_after_the_timeout() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let said = sagactl(&["saga", "list", "--timeout", "200ms"], &[("FARMERA_ORDERS_URL", &url)]);
    assert_eq!(said.code, 7);
    assert!(said.err.contains("did not answer in time"), "{}", said.err);
}

#[test]
fn flags_stand_over_environment_and_that_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("contexts.yaml");
    let config = file.to_str().unwrap();
    let with = |arguments: &[&str], more: &[(&str, &str)]| {
        let mut environment = vec![("SAGACTL_CONFIG", config)];
        environment.extend_from_slice(more);
        sagactl(arguments, &environment)
    };
    assert_eq!(with(&["context", "add", "far", "--orders-url", "http://127.0.0.1:2"], &[]).code, 0);
    assert_eq!(with(&["context", "use", "far"], &[]).code, 0);
    let asked = |said: support::Said| said.err.split_once(" at ").unwrap().1.split(' ').next().unwrap().to_owned();
    assert_eq!(asked(with(&["saga", "list"], &[])), "http://127.0.0.1:2");
    assert_eq!(asked(with(&["saga", "list"], &NOWHERE)), "http://127.0.0.1:1");
    assert_eq!(asked(with(&["saga", "list", "--orders-url", "http://127.0.0.1:3"], &NOWHERE)), "http://127.0.0.1:3");
    let listed = with(&["context", "list"], &[]);
    let expected = "\
NAME   CURRENT  ORDERS                  ACTOR
far    *        http://127.0.0.1:2      -
local           http://127.0.0.1:50052  -
";
    assert_eq!((listed.code, listed.out.as_str(), listed.err.as_str()), (0, expected, ""));
    assert_eq!(with(&["context", "list", "-o", "name"], &[]).out, "far\nlocal\n");
}

#[test]
fn a_broken_file_of_contexts_is_named_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("contexts.yaml");
    fs::write(&file, "contexts: [\n").unwrap();
    let said = sagactl(&["context", "use", "local"], &[("SAGACTL_CONFIG", file.to_str().unwrap())]);
    assert_eq!((said.code, said.err.lines().count()), (2, 1), "{}", said.err);
    assert!(said.err.contains("contexts.yaml"), "{}", said.err);
    assert_eq!(fs::read_to_string(&file).unwrap(), "contexts: [\n");
}

#[test]
fn a_full_disk_is_one_line_and_exit_code_1() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = command(&["cheat"], &[]).stdout(full).output().unwrap();
    let (code, line) = (output.status.code(), String::from_utf8(output.stderr).unwrap());
    assert_eq!((code, line.lines().count()), (Some(1), 1), "{line}");
    assert!(line.contains("No space left on device"), "{line}");
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command(&["completion", "bash"], &[]).stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), b"".as_slice()));
}

#[test]
fn nothing_is_coloured_unless_a_person_looks_or_asks() {
    assert!(!sagactl(&["context", "list"], &[]).out.contains('\u{1b}'));
    assert!(sagactl(&["context", "list", "--color", "always"], &[]).out.contains('\u{1b}'));
    assert!(!sagactl(&["context", "list", "--color", "auto"], &[("NO_COLOR", "1")]).out.contains('\u{1b}'));
}

#[test]
fn every_form_of_an_answer_has_the_same_fields() {
    let json = sagactl(&["context", "list", "-o", "json"], &[]).out;
    let jsonl = sagactl(&["context", "list", "-o", "jsonl"], &[]).out;
    let yaml = sagactl(&["context", "list", "-o", "yaml"], &[]).out;
    let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(parsed[0], serde_json::from_str::<serde_json::Value>(&jsonl).unwrap());
    assert_eq!(parsed, serde_saphyr::from_str::<serde_json::Value>(&yaml).unwrap());
}

#[test]
fn the_manual_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(sagactl(&["man", folder.path().to_str().unwrap()], &[]).code, 0);
    assert!(folder.path().join("sagactl-saga-explain.1").exists());
    for shell in ["bash", "zsh", "fish"] {
        assert!(sagactl(&["completion", shell], &[]).out.contains("explain"), "{shell}");
    }
    let version = sagactl(&["version", "--client"], &[]);
    assert_eq!(version.out, concat!("sagactl ", env!("CARGO_PKG_VERSION"), " (contract 1)\n"));
    golden(&here("tests/golden/cheat.txt"), &sagactl(&["cheat"], &[]).out);
}
