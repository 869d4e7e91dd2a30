//! The promises of this crate, on real servers. They need what `install.sh` installs.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so do its helpers")]

mod support;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use farmera_local::{FaultError, FindingState, Servers, StartError, TestServers, Toolbox, project_root};
use support::{
    create_stream, eventually, guard_of, has_stream, is_alive, is_root, kill, open_folder, options, publish, sql,
};

/// Set for a test program that was started as the owner of servers: the state folder.
const OWNER_ROOT: &str = "FARMERA_LOCAL_TEST_OWNER_ROOT";
const TEMPORARY: &str = "FARMERA_LOCAL_TEST_TEMPORARY";

#[test]
fn owner_migrates_and_service_only_works_in_its_own_database() {
    let folder = open_folder();
    let servers = Servers::start(options(folder.path())).unwrap();
    let owner = servers.owner_url("orders").unwrap();
    let service = servers.service_url("orders").unwrap();

    sql(&owner, "create table line (id int); grant insert on line to orders_service").unwrap();
    sql(&service, "insert into line values (1)").unwrap();

    assert!(sql(&service, "create table other (id int)").unwrap_err().contains("permission denied"));
    let neighbour = format!("{}payment", service.trim_end_matches("orders"));
    assert!(sql(&neighbour, "select 1").unwrap_err().contains("permission denied for database"));
    assert_eq!(sql(&service, "show statement_timeout").unwrap(), "10s");
    assert_eq!(sql(&service, "show lock_timeout").unwrap(), "5s");
    assert_eq!(sql(&owner, "show statement_timeout").unwrap(), "0");
    assert!(servers.postgres_url("orders", "payment_owner").is_err());
    servers.stop();
}

#[test]
fn a_service_uses_the_socket_where_its_path_is_short_enough() {
    let folder = open_folder();
    let by = |servers: &Servers| {
        let url = servers.service_socket_url("orders").unwrap();
        sql(&url, "select coalesce(host(inet_server_addr()), 'socket')").unwrap()
    };
    let servers = Servers::start(options(folder.path())).unwrap();
    assert_eq!(by(&servers), "socket");
    servers.stop();

    let deep = folder.path().join("d".repeat(100));
    let servers = Servers::start(options(&deep)).unwrap();
    assert_eq!(by(&servers), "127.0.0.1");
    servers.stop();
}

#[test]
fn durability_is_stock_and_strangers_need_a_password() {
    let servers = TestServers::shared().unwrap();
    for setting in ["fsync", "synchronous_commit", "full_page_writes", "data_checksums"] {
        assert_eq!(sql(&servers.admin_url(), &format!("show {setting}")).unwrap(), "on", "{setting}");
    }
    assert_eq!(sql(&servers.admin_url(), "show server_encoding").unwrap(), "UTF8");
    let url = servers.admin_url();
    let (_, address) = url.split_once('@').unwrap();
    let wrong = format!("postgres://postgres:wrong@{address}");
    assert!(sql(&wrong, "select 1").unwrap_err().contains("password authentication failed"));
}

#[test]
fn all_tests_of_a_process_share_one_pair() {
    let first = TestServers::shared().unwrap();
    assert!(std::ptr::eq(first, TestServers::shared().unwrap()));
    assert!(first.root().starts_with(project_root()) || first.root().starts_with(std::env::temp_dir()));
}

#[test]
fn a_restart_keeps_data_urls_and_streams() {
    let folder = open_folder();
    let servers = Servers::start(options(folder.path())).unwrap();
    let (owner, nats) = (servers.owner_url("orders").unwrap(), servers.nats_url());
    sql(&owner, "create table line as select 7 as id").unwrap();
    create_stream(&servers);
    servers.stop();

    let mut more = options(folder.path());
    more.databases.push(farmera_local::DatabaseSpec::new("products", "products_owner", "products_service"));
    let servers = Servers::start(more).unwrap();

    assert_eq!(servers.owner_url("orders").unwrap(), owner);
    assert_eq!(servers.nats_url(), nats);
    assert_eq!(sql(&owner, "select id from line").unwrap(), "7");
    assert_eq!(sql(&servers.service_url("products").unwrap(), "select 1").unwrap(), "1");
    assert!(has_stream(&servers));
}

#[test]
fn lost_passwords_are_made_anew_and_the_data_stays() {
    let folder = open_folder();
    let servers = Servers::start(options(folder.path())).unwrap();
    let before = servers.owner_url("orders").unwrap();
    sql(&before, "create table line as select 7 as id").unwrap();
    servers.stop();
    std::fs::remove_file(folder.path().join("secrets.json")).unwrap();

    let servers = Servers::start(options(folder.path())).unwrap();

    let after = servers.owner_url("orders").unwrap();
    assert_ne!(before, after);
    assert_eq!(sql(&after, "select id from line").unwrap(), "7");
    assert_eq!(sql(&servers.admin_url(), "select 1").unwrap(), "1");
}

#[test]
fn fresh_wipes_data_and_streams() {
    let folder = open_folder();
    let servers = Servers::start(options(folder.path())).unwrap();
    sql(&servers.owner_url("orders").unwrap(), "create table line (id int)").unwrap();
    create_stream(&servers);
    servers.stop();

    let mut fresh = options(folder.path());
    fresh.fresh = true;
    let servers = Servers::start(fresh).unwrap();

    let missing = sql(&servers.owner_url("orders").unwrap(), "select * from line").unwrap_err();
    assert!(missing.contains("does not exist"), "{missing}");
    assert!(!has_stream(&servers));
}

#[test]
fn a_second_start_on_the_same_folder_is_refused_and_names_the_owner() {
    let folder = open_folder();
    let _servers = Servers::start(options(folder.path())).unwrap();
    let refused = Servers::start(options(folder.path())).unwrap_err();
    assert!(matches!(refused, StartError::InUse { pid, .. } if pid == std::process::id()), "{refused}");
}

#[test]
fn a_name_that_needs_quoting_is_refused_before_anything_starts() {
    let folder = open_folder();
    let mut odd = options(&folder.path().join("state"));
    odd.databases[0].service_role = "orders\"; drop".to_owned();
    assert!(matches!(Servers::start(odd), Err(StartError::Name { .. })));
    assert!(!folder.path().join("state").exists());
}

#[test]
fn killed_servers_come_back_on_the_same_urls_with_their_data() {
    let servers = TestServers::start(|_| {}).unwrap();
    sql(&servers.admin_url(), "create table line as select 7 as id").unwrap();
    create_stream(&servers);

    servers.kill_postgres();
    assert_eq!(servers.postgres_pid(), None);
    assert!(sql(&servers.admin_url(), "select 1").is_err());
    servers.start_postgres().unwrap();
    assert_eq!(sql(&servers.admin_url(), "select id from line").unwrap(), "7");

    assert!(matches!(servers.wipe_nats_store(), Err(FaultError::Running)));
    servers.kill_nats();
    servers.start_nats().unwrap();
    assert!(has_stream(&servers));
    servers.kill_nats();
    servers.wipe_nats_store().unwrap();
    servers.start_nats().unwrap();
    assert!(!has_stream(&servers));
}

#[test]
fn a_rolled_back_nats_store_forgets_what_came_later() {
    let servers = TestServers::start(|_| {}).unwrap();
    let copies = tempfile::tempdir().unwrap();
    let copy = copies.path().join("nats");
    servers.kill_nats();
    servers.copy_nats_store(&copy).unwrap();
    servers.start_nats().unwrap();
    create_stream(&servers);
    assert!(matches!(servers.restore_nats_store(&copy), Err(FaultError::Running)));
    servers.kill_nats();
    servers.restore_nats_store(&copy).unwrap();
    servers.start_nats().unwrap();
    assert!(!has_stream(&servers));
}

#[test]
fn a_flipped_byte_is_one_byte_of_a_stream_s_messages() {
    let servers = TestServers::start(|_| {}).unwrap();
    create_stream(&servers);
    assert!(matches!(servers.flip_nats_byte("kept", 0), Err(FaultError::Running)));
    assert!(publish(&servers, "kept.one", "seven").contains("\"seq\":1"));
    servers.kill_nats();
    let block = servers.flip_nats_byte("kept", u64::MAX).unwrap();
    let flipped = std::fs::read(&block).unwrap();
    assert_eq!(servers.flip_nats_byte("kept", u64::MAX).unwrap(), block);
    let mended = std::fs::read(&block).unwrap();
    assert_eq!(flipped.iter().zip(&mended).filter(|(one, other)| one != other).count(), 1);
    assert!(matches!(servers.flip_nats_byte("unknown", 0), Err(FaultError::Empty(_))));
}

#[test]
fn a_restored_copy_of_postgres_knows_nothing_of_what_came_later() {
    let servers = TestServers::start(|_| {}).unwrap();
    let copies = tempfile::tempdir().unwrap();
    let copy = copies.path().join("postgres");
    sql(&servers.admin_url(), "create table line as select 7 as id").unwrap();
    servers.kill_postgres();
    servers.copy_postgres_data(&copy).unwrap();
    servers.start_postgres().unwrap();
    sql(&servers.admin_url(), "insert into line values (8)").unwrap();
    assert!(matches!(servers.restore_postgres_data(&copy), Err(FaultError::Running)));
    servers.kill_postgres();
    servers.restore_postgres_data(&copy).unwrap();
    servers.start_postgres().unwrap();
    assert_eq!(sql(&servers.admin_url(), "select count(*) from line").unwrap(), "1");
}

#[test]
fn stopping_temporary_servers_leaves_nothing() {
    let servers = TestServers::start(|options| options.nats_monitoring = true).unwrap();
    let root = servers.root().to_path_buf();
    let pids = [servers.postgres_pid().unwrap(), servers.nats_pid().unwrap()];
    assert!(servers.nats_monitor_url().is_some());
    servers.stop();
    assert!(!pids.into_iter().any(is_alive));
    assert!(!root.exists());
}

#[test]
fn a_folder_closed_to_the_postgres_user_is_no_obstacle_to_root() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let mut temporary = options(&folder.path().join("state"));
    temporary.temporary = true;
    let servers = Servers::start(temporary).unwrap();
    let data = sql(&servers.admin_url(), "show data_directory").unwrap();
    assert_eq!(is_root(), data.starts_with("/var/tmp/farmera-"), "{data}");
    servers.stop();
    assert!(!Path::new(&data).exists());
}

#[test]
fn servers_die_with_a_killed_owner_and_the_data_is_kept() {
    let folder = open_folder();
    let (mut owner, pids) = start_owner(folder.path(), |command| command);
    owner.kill().unwrap();
    owner.wait().unwrap();
    // At once: the start waits for the guard.
    let servers = Servers::start(options(folder.path())).unwrap();
    assert!(!pids.into_iter().any(is_alive));
    assert_eq!(sql(&servers.owner_url("orders").unwrap(), "select id from line").unwrap(), "7");
}

#[test]
fn temporary_servers_of_a_killed_owner_leave_nothing() {
    let folder = open_folder();
    let root = folder.path().join("state");
    let (mut owner, pids) = start_owner(&root, |command| command.env(TEMPORARY, "1"));
    owner.kill().unwrap();
    owner.wait().unwrap();
    eventually("servers have ended", || !pids.into_iter().any(is_alive));
    eventually("the folder is gone", || !root.exists());
}

#[test]
fn servers_whose_guard_was_killed_too_are_ended_by_the_next_start() {
    let folder = open_folder();
    let (mut owner, pids) = start_owner(folder.path(), |command| command);
    kill(guard_of(owner.id()));
    owner.kill().unwrap();
    owner.wait().unwrap();
    assert!(pids.into_iter().all(is_alive));
    let servers = Servers::start(options(folder.path())).unwrap();
    assert!(!pids.into_iter().any(is_alive));
    assert_eq!(sql(&servers.owner_url("orders").unwrap(), "select id from line").unwrap(), "7");
}

#[test]
fn an_ordinary_user_can_own_servers_as_well() {
    if !is_root() {
        return; // then every other test shows it
    }
    let folder = open_folder();
    std::os::unix::fs::chown(folder.path(), Some(65534), Some(65534)).unwrap();
    let (mut owner, pids) = start_owner(folder.path(), |command| command.uid(65534).gid(65534));
    assert!(pids.into_iter().all(|pid| uid_of(pid) == 65534));
    owner.kill().unwrap();
    owner.wait().unwrap();
    eventually("servers have ended", || !pids.into_iter().any(is_alive));
}

#[test]
fn the_doctor_sees_both_servers() {
    let findings = Toolbox::examine(&project_root());
    let names: Vec<_> = findings.iter().map(|finding| finding.name.as_str()).collect();
    assert_eq!(names, ["Postgres", "nats-server"]);
    assert!(findings.iter().all(|finding| finding.state == FindingState::Ok), "{findings:?}");
}

/// No test of its own: the part of the owner in the tests above, in a process of its own.
#[test]
fn owner_process() {
    let Some(root) = std::env::var_os(OWNER_ROOT) else { return };
    let mut options = options(Path::new(&root));
    options.temporary = std::env::var_os(TEMPORARY).is_some();
    let servers = Servers::start(options).unwrap();
    sql(&servers.owner_url("orders").unwrap(), "create table line as select 7 as id").unwrap();
    println!("\nowner-of {} {}", servers.postgres_pid().unwrap(), servers.nats_pid().unwrap());
    loop {
        std::thread::park();
    }
}

/// Starts this test program as an owner of servers; its process and the two servers' ids.
fn start_owner(root: &Path, adjust: impl FnOnce(&mut Command) -> &mut Command) -> (Child, [u32; 2]) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "owner_process", "--nocapture"]).env(OWNER_ROOT, root).stdout(Stdio::piped());
    let mut child = adjust(&mut command).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in lines.map_while(Result::ok) {
        if let Some(pids) = line.strip_prefix("owner-of ") {
            let mut pids = pids.split(' ').map(|pid| pid.parse().unwrap());
            return (child, [pids.next().unwrap(), pids.next().unwrap()]);
        }
    }
    panic!("the owner ended before its servers were up: {:?}", child.wait());
}

fn uid_of(pid: u32) -> u32 {
    let output = Command::new("ps").args(["-o", "uid=", "-p", &pid.to_string()]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}
