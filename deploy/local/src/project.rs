//! Where the checkout is.

use std::path::{Path, PathBuf};

/// The project's root: `FARMERA_HOME` when set; else the nearest folder at or above the current
/// one that holds both `Cargo.toml` and `deploy/local`; else the checkout this was compiled in.
#[must_use]
pub fn project_root() -> PathBuf {
    if let Some(home) = std::env::var_os("FARMERA_HOME").filter(|home| !home.is_empty()) {
        return PathBuf::from(home);
    }
    std::env::current_dir().ok().and_then(|current| nearest_root(&current)).unwrap_or_else(compiled_root)
}

fn nearest_root(from: &Path) -> Option<PathBuf> {
    from.ancestors()
        .find(|folder| folder.join("Cargo.toml").is_file() && folder.join("deploy/local").is_dir())
        .map(Path::to_path_buf)
}

fn compiled_root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package).to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::{compiled_root, nearest_root};

    #[test]
    fn a_folder_deep_in_the_checkout_finds_its_root() {
        let root = compiled_root();
        assert_eq!(nearest_root(&root.join("deploy/local/src")), Some(root));
    }

    #[test]
    fn a_folder_outside_of_any_checkout_finds_none() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(nearest_root(folder.path()), None);
    }
}
