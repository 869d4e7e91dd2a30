//! Servers for tests.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Servers, ServersOptions, StartError, project_root};

/// Temporary servers with stock durability; their folder goes away with the test process.
#[derive(Debug)]
pub struct TestServers;

impl TestServers {
    /// The one pair that all tests of this process share; the first caller starts it (about a
    /// second). It holds no databases: make your own through [`Servers::admin_url`]. Do not
    /// inject faults into it, others use it; take [`TestServers::start`] for that.
    ///
    /// # Errors
    /// Why the first caller could not start it; every later caller gets the same.
    pub fn shared() -> Result<&'static Servers, &'static StartError> {
        static SHARED: OnceLock<Result<Servers, StartError>> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(|_| {})).as_ref()
    }

    /// A pair of the caller's own; `adjust` changes the options (databases, settings).
    ///
    /// # Errors
    /// As [`Servers::start`].
    pub fn start(adjust: impl FnOnce(&mut ServersOptions)) -> Result<Servers, StartError> {
        let mut options = ServersOptions::new(new_folder());
        options.temporary = true;
        adjust(&mut options);
        Servers::start(options)
    }
}

/// `<project>/.farmera/test-<pid>-<number>`, or in the system's temporary folder when the checkout
/// is not ours to write in.
fn new_folder() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let folder = project_root().join(".farmera").join(&name);
    if std::fs::create_dir_all(&folder).is_ok() {
        return folder;
    }
    std::env::temp_dir().join(format!("farmera-{name}"))
}
