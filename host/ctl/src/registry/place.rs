//! Where a component lies: a registry, a repository in it, and a tag or a digest.
//!
//! Everything is written out. A reference without a registry would mean one company's, one without a tag whatever was
//! pushed last.

use std::fmt;

use oci_client::Reference;

use super::failure::RegistryError;

/// A checked reference.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    reference: Reference,
    is_plain: bool,
}

impl Place {
    /// Reads `REGISTRY/REPOSITORY:TAG` or `REGISTRY/REPOSITORY@sha256:…`. `plain_http` allows what is not encrypted to
    /// leave this machine.
    ///
    /// # Errors
    /// It is no such reference.
    pub(crate) fn parse(text: &str, plain_http: bool) -> Result<Self, RegistryError> {
        let wrong = |reason: String| RegistryError::Reference { text: text.to_owned(), reason };
        if text.contains("://") {
            return Err(wrong("a reference has no scheme".to_owned()));
        }
        let registry = text.split_once('/').map(|(registry, _)| registry).filter(|name| is_registry(name));
        let registry = registry.ok_or_else(|| wrong("it does not begin with a registry".to_owned()))?;
        let reference: Reference = text.parse().map_err(|error| wrong(format!("{error}")))?;
        let names = text.strip_prefix(registry).unwrap_or(text);
        if !names.contains([':', '@']) {
            return Err(wrong("it has neither a tag nor a digest".to_owned()));
        }
        if reference.digest().is_some_and(|digest| !digest.starts_with("sha256:")) {
            return Err(wrong("its digest is no SHA-256".to_owned()));
        }
        Ok(Self { is_plain: plain_http || is_loopback(registry), reference })
    }

    /// The registry, as it is connected to.
    pub(crate) fn registry(&self) -> &str {
        self.reference.resolve_registry()
    }

    /// The last part of the repository's name.
    pub(crate) fn name(&self) -> &str {
        let repository = self.reference.repository();
        repository.rsplit('/').next().unwrap_or(repository)
    }

    /// True when it is named by its content, so that nothing else can be put there.
    pub(crate) fn is_fixed(&self) -> bool {
        self.reference.digest().is_some()
    }

    /// The same repository, and what is there under a digest.
    pub(crate) fn at(&self, digest: &str) -> String {
        self.reference.clone_with_digest(digest.to_owned()).to_string()
    }

    /// The error of a place that holds something else than a stage.
    pub(super) fn holds(&self, found: String) -> RegistryError {
        RegistryError::NoStage { place: self.to_string(), found }
    }

    pub(super) fn reference(&self) -> &Reference {
        &self.reference
    }

    pub(super) fn is_plain(&self) -> bool {
        self.is_plain
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reference.fmt(f)
    }
}

/// Whether the first part of a reference is a host, by the rule that all tools share.
fn is_registry(name: &str) -> bool {
    name == "localhost" || name.contains(['.', ':'])
}

/// Whether a registry is on this machine, where nobody listens between it and us.
fn is_loopback(registry: &str) -> bool {
    let host = registry.split_once(':').map_or(registry, |(host, _)| host);
    host == "localhost" || host.parse().is_ok_and(|address: std::net::Ipv4Addr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_names_a_registry_and_a_tag_or_a_digest() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let place = Place::parse("registry.example/stages/rails:1.2", false).unwrap();
        assert_eq!((place.registry(), place.name(), place.is_fixed()), ("registry.example", "rails", false));
        assert_eq!(place.at(&digest), format!("registry.example/stages/rails@{digest}"));
        let fixed = Place::parse(&format!("localhost:5000/rails@{digest}"), false).unwrap();
        assert!(fixed.is_fixed() && fixed.registry() == "localhost:5000");
        for (wrong, why) in [
            ("rails:1", "does not begin with a registry"),
            ("stages/rails:1", "does not begin with a registry"),
            ("registry.example/rails", "neither a tag nor a digest"),
            ("localhost:5000/rails", "neither a tag nor a digest"),
            ("https://registry.example/rails:1", "no scheme"),
            ("registry.example/Rails:1", "invalid reference"),
            ("registry.example/rails@sha256:0", "invalid"),
            ("", "does not begin with a registry"),
        ] {
            let said = Place::parse(wrong, false).unwrap_err().to_string();
            assert!(said.contains(why) && said.contains("REGISTRY/REPOSITORY:TAG"), "{wrong}: {said}");
        }
    }

    #[test]
    fn nothing_leaves_this_machine_in_the_clear_unless_it_was_asked_for() {
        let is_plain = |text, plain| Place::parse(text, plain).unwrap().is_plain();
        for near in ["localhost/a:1", "localhost:5000/a:1", "127.0.0.1:5000/a:1", "127.9.9.9/a:1"] {
            assert!(is_plain(near, false), "{near}");
        }
        for far in ["registry.example/a:1", "10.0.0.1:5000/a:1", "localhost.example/a:1", "128.0.0.1/a:1"] {
            assert!(!is_plain(far, false) && is_plain(far, true), "{far}");
        }
    }
}
