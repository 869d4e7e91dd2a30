//! Contexts: which Farmera is meant, and who asks. Kept in a file that people may edit.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// The name of what is there without a file: `farmera up` on this machine.
pub const LOCAL: &str = "local";

/// Where the servers are and how to talk to them. What is not set comes from the defaults of `farmera up`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// The orders service, where sagas run: `http://127.0.0.1:50052`, or `https://…` for TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orders: Option<String>,
    /// The products service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub products: Option<String>,
    /// The payment service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<String>,
    /// The notification service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notification: Option<String>,
    /// Who acts: becomes part of every event that an act leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// A file with a bearer token; never the token itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// PEM of the authority that vouches for the servers; the public ones when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_ca: Option<PathBuf>,
    /// PEM of this client's certificate, with its chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_certificate: Option<PathBuf>,
    /// PEM of the certificate's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
}

impl Context {
    /// This context, with what is set in `over` in place of its own.
    #[must_use]
    pub fn overlaid(self, over: Self) -> Self {
        Self {
            orders: over.orders.or(self.orders),
            products: over.products.or(self.products),
            payment: over.payment.or(self.payment),
            notification: over.notification.or(self.notification),
            actor: over.actor.or(self.actor),
            token_file: over.token_file.or(self.token_file),
            tls_ca: over.tls_ca.or(self.tls_ca),
            tls_certificate: over.tls_certificate.or(self.tls_certificate),
            tls_key: over.tls_key.or(self.tls_key),
        }
    }

    /// What `farmera up` serves on this machine, by whoever is logged in.
    #[must_use]
    pub fn local(user: Option<String>) -> Self {
        let local = |port: u16| Some(format!("http://127.0.0.1:{port}"));
        Self {
            orders: local(50_052),
            products: local(50_051),
            payment: local(50_054),
            notification: local(50_055),
            actor: user,
            ..Self::default()
        }
    }
}

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contexts {
    /// The name of the one that is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// All of them by name.
    #[serde(default)]
    pub contexts: BTreeMap<String, Context>,
}

impl Contexts {
    /// Where the file is: `SAGACTL_CONFIG`, else below `XDG_CONFIG_HOME`, else below `~/.config`.
    #[must_use]
    pub fn default_path(env: impl Fn(&str) -> Option<String>) -> PathBuf {
        let named = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        named("SAGACTL_CONFIG").unwrap_or_else(|| {
            let base = named("XDG_CONFIG_HOME").or_else(|| named("HOME").map(|home| home.join(".config")));
            base.unwrap_or_default().join("sagactl/contexts.yaml")
        })
    }

    /// Reads the file; a file that is not there has no contexts.
    ///
    /// # Errors
    /// [`Failure::Usage`] names the file and what is wrong with it.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Failure::Usage(format!("cannot read {}: {error}", path.display()))),
        };
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        serde_saphyr::from_str(&text).map_err(|error| {
            let what = error.without_snippet().to_string();
            let what = what.lines().next().unwrap_or_default();
            Failure::Usage(format!("{} is no file of contexts: {what}; correct it or move it away", path.display()))
        })
    }

    /// Writes the file: whole or not at all, readable by its owner.
    ///
    /// # Errors
    /// [`Failure::Failed`] when it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Failure> {
        let unwritten =
            |error: &dyn std::error::Error| Failure::Failed(format!("cannot write {}: {error}", path.display()));
        let text = serde_saphyr::to_string(self).map_err(|error| unwritten(&error))?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| unwritten(&error))?;
        }
        let draft = path.with_extension(format!("{}.new", std::process::id()));
        let written = fs::write(&draft, text).and_then(|()| fs::rename(&draft, path));
        written.map_err(|error| {
            drop(fs::remove_file(&draft));
            unwritten(&error)
        })
    }

    /// The context `name`, or the current one, over what is there without a file.
    ///
    /// # Errors
    /// [`Failure::Usage`] when there is none of this name.
    pub fn chosen(&self, name: Option<&str>, user: Option<String>) -> Result<(String, Context), Failure> {
        let name = name.or(self.current.as_deref()).unwrap_or(LOCAL);
        let local = Context::local(user);
        match self.contexts.get(name) {
            Some(context) => Ok((name.to_owned(), local.overlaid(context.clone()))),
            None if name == LOCAL => Ok((name.to_owned(), local)),
            None => {
                let known: Vec<_> = self.contexts.keys().map(String::as_str).collect();
                let known = if known.is_empty() { LOCAL.to_owned() } else { known.join(", ") };
                Err(Failure::Usage(format!(
                    "there is no context {name:?}; there is {known}. Add one: sagactl context add {name} --orders-url URL"
                )))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contexts(text: &str) -> Result<Contexts, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("contexts.yaml");
        fs::write(&path, text).unwrap();
        Contexts::load(&path)
    }

    #[test]
    fn a_context_of_the_file_stands_over_the_local_one() {
        let read = contexts("current: far\ncontexts:\n  far:\n    orders: https://o:1\n    actor: ana\n").unwrap();
        let (name, context) = read.chosen(None, Some("root".to_owned())).unwrap();
        assert_eq!((name.as_str(), context.orders.as_deref()), ("far", Some("https://o:1")));
        assert_eq!(context.products.as_deref(), Some("http://127.0.0.1:50051"));
        assert_eq!(context.actor.as_deref(), Some("ana"));
        assert!(matches!(read.chosen(Some("near"), None), Err(Failure::Usage(_))));
    }

    #[test]
    fn a_misspelt_field_is_named() {
        let refused = contexts("contexts:\n  far:\n    order: https://o:1\n").unwrap_err().to_string();
        assert!(refused.contains("order") && refused.contains("contexts.yaml"), "{refused}");
        assert_eq!(refused.lines().count(), 1, "{refused}");
    }

    #[test]
    fn what_is_saved_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/contexts.yaml");
        let mut contexts = Contexts { current: Some("far".to_owned()), ..Contexts::default() };
        contexts.contexts.insert("far".to_owned(), Context::local(Some("ana: \"x\"".to_owned())));
        contexts.save(&path).unwrap();
        assert_eq!(Contexts::load(&path).unwrap(), contexts);
    }

    #[test]
    fn the_file_is_found_the_way_of_the_desktop() {
        let path = |pairs: &[(&str, &str)]| {
            Contexts::default_path(|name| {
                pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(path(&[("HOME", "/h")]), Path::new("/h/.config/sagactl/contexts.yaml"));
        assert_eq!(path(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")]), Path::new("/x/sagactl/contexts.yaml"));
        assert_eq!(path(&[("SAGACTL_CONFIG", "/f"), ("HOME", "/h")]), Path::new("/f"));
    }
}
