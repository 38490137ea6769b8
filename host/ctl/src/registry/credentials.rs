//! Who speaks with a registry: what `docker login` left in the user's `config.json`, or nobody.
//!
//! A program that keeps the passwords (`credsStore`, `credHelpers`) is asked as Docker asks it.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use oci_client::secrets::RegistryAuth;
use serde::Deserialize;

use super::failure::RegistryError;

/// How Docker calls its own registry in that file.
const HUB: (&str, &str) = ("index.docker.io", "https://index.docker.io/v1/");

/// What is shown to a registry, and how a person would call it.
pub(super) struct Credentials {
    pub(super) auth: RegistryAuth,
    /// `user "bob" of /root/.docker/config.json`, or why it is nobody.
    pub(super) who: String,
}

#[derive(Debug, Default, Deserialize)]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Entry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default, rename = "identitytoken")]
    identity_token: String,
    #[serde(default, rename = "registrytoken")]
    registry_token: String,
}

/// What a program that keeps passwords answers.
#[derive(Deserialize)]
struct Kept {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

impl Credentials {
    /// The user's for a registry.
    ///
    /// # Errors
    /// The file cannot be read or understood; that it is not there is none.
    pub(super) fn of(registry: &str) -> Result<Self, RegistryError> {
        let folder = env::var_os("DOCKER_CONFIG").filter(|folder| !folder.is_empty()).map(PathBuf::from);
        match folder.or_else(|| Some(env::home_dir()?.join(".docker"))) {
            Some(folder) => Self::in_file(&folder.join("config.json"), registry),
            None => Ok(Self::nobody("there is no home with a .docker/config.json".to_owned())),
        }
    }

    fn in_file(path: &Path, registry: &str) -> Result<Self, RegistryError> {
        let shown = path.display();
        let unusable = |reason: String| RegistryError::Credentials { path: path.to_owned(), reason };
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Self::nobody(format!("there is no {shown}")));
            }
            Err(error) => return Err(unusable(error.to_string())),
        };
        let config: Config = serde_json::from_slice(&text).map_err(|error| unusable(error.to_string()))?;
        let entry = config.auths.iter().find(|(key, _)| host(key) == registry).map(|(_, entry)| entry);
        if let Some(found) = entry.map(|entry| entry.read(path)).transpose().map_err(unusable)?.flatten() {
            return Ok(found);
        }
        let helper = config.helpers.iter().find(|(key, _)| host(key) == registry).map(|(_, helper)| helper);
        let nobody = Self::nobody(format!("{shown} names nobody for {registry}"));
        match helper.or(config.store.as_ref()).filter(|name| !name.is_empty()) {
            Some(helper) => Ok(ask(helper, registry).map_err(unusable)?.unwrap_or(nobody)),
            None => Ok(nobody),
        }
    }

    fn nobody(why: String) -> Self {
        Self { auth: RegistryAuth::Anonymous, who: format!("an anonymous caller ({why})") }
    }

    fn user(name: String, secret: String, origin: &str) -> Self {
        Self { who: format!("user {name:?} of {origin}"), auth: RegistryAuth::Basic(name, secret) }
    }
}

impl Entry {
    /// What it says; nothing when it only says that a program knows.
    fn read(&self, path: &Path) -> Result<Option<Credentials>, String> {
        let origin = path.display().to_string();
        if !self.registry_token.is_empty() {
            let auth = RegistryAuth::Bearer(self.registry_token.clone());
            return Ok(Some(Credentials { auth, who: format!("the token of {origin}") }));
        }
        if !self.auth.is_empty() {
            let text = STANDARD.decode(&self.auth).ok().and_then(|text| String::from_utf8(text).ok());
            let text = text.ok_or_else(|| "an \"auth\" in it is no Base64".to_owned())?;
            let pair = text.split_once(':').ok_or_else(|| "an \"auth\" in it has no password".to_owned())?;
            // A name without a password stands beside an identity token.
            if !pair.1.trim_matches('\0').is_empty() {
                return Ok(Some(Credentials::user(pair.0.to_owned(), pair.1.trim_matches('\0').to_owned(), &origin)));
            }
        }
        if !self.username.is_empty() && !self.password.is_empty() {
            return Ok(Some(Credentials::user(self.username.clone(), self.password.clone(), &origin)));
        }
        if !self.identity_token.is_empty() {
            return Err("it has an identity token, which this program cannot use; sign in with a password".to_owned());
        }
        Ok(None)
    }
}

/// The host in a key of the file: some are addresses of an API.
fn host(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    match rest.split_once('/').map_or(rest, |(host, _)| host) {
        "docker.io" => HUB.0,
        host => host,
    }
}

/// Asks the program `docker-credential-NAME`, which takes the registry's name and answers in JSON.
fn ask(helper: &str, registry: &str) -> Result<Option<Credentials>, String> {
    if !helper.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        return Err(format!("{helper:?} is no name of a credential helper"));
    }
    let program = format!("docker-credential-{helper}");
    let failed = |error: &dyn std::fmt::Display| format!("{program} failed: {error}");
    let mut command = Command::new(&program);
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| failed(&error))?;
    if let Some(mut input) = child.stdin.take() {
        let key = if registry == HUB.0 { HUB.1 } else { registry };
        input.write_all(key.as_bytes()).map_err(|error| failed(&error))?;
    }
    let output = child.wait_with_output().map_err(|error| failed(&error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().to_owned();
        // Docker's own words for "I know nobody there".
        return if said.contains("credentials not found") { Ok(None) } else { Err(failed(&said)) };
    }
    let kept: Kept = serde_json::from_slice(&output.stdout).map_err(|error| failed(&error))?;
    match kept.username.as_str() {
        "<token>" => {
            Err("it keeps an identity token, which this program cannot use; sign in with a password".to_owned())
        }
        _ => Ok(Some(Credentials::user(kept.username, kept.secret, &program))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, registry: &str) -> Result<Credentials, RegistryError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs::write(&path, text).unwrap();
        Credentials::in_file(&path, registry)
    }

    #[test]
    fn a_user_is_found_however_the_registry_is_written() {
        // "bob:a:b" in Base64: a password may have a colon.
        for key in ["registry.example:5000", "https://registry.example:5000", "http://registry.example:5000/v2/"] {
            let text = format!("{{\"auths\": {{\"other\": {{}}, \"{key}\": {{\"auth\": \"Ym9iOmE6Yg==\"}}}}}}");
            let credentials = found(&text, "registry.example:5000").unwrap();
            assert_eq!(credentials.auth, RegistryAuth::Basic("bob".to_owned(), "a:b".to_owned()), "{key}");
            assert!(credentials.who.starts_with("user \"bob\" of /") && !credentials.who.contains("a:b"), "{key}");
        }
        let hub = r#"{"auths": {"https://index.docker.io/v1/": {"username": "bob", "password": "b"}}}"#;
        assert_eq!(found(hub, HUB.0).unwrap().auth, RegistryAuth::Basic("bob".to_owned(), "b".to_owned()));
        let token = r#"{"auths": {"registry.example": {"registrytoken": "t"}}}"#;
        assert_eq!(found(token, "registry.example").unwrap().auth, RegistryAuth::Bearer("t".to_owned()));
    }

    #[test]
    fn nobody_is_somebody_too() {
        for (text, registry) in [("{}", "a.example"), (r#"{"auths": {"b.example": {"auth": "Yjpi"}}}"#, "a.example")] {
            let credentials = found(text, registry).unwrap();
            assert_eq!(credentials.auth, RegistryAuth::Anonymous);
            assert!(credentials.who.contains("names nobody for a.example"), "{}", credentials.who);
        }
        let missing = Credentials::in_file(Path::new("/nowhere/config.json"), "a.example").unwrap();
        assert_eq!(missing.who, "an anonymous caller (there is no /nowhere/config.json)");
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        for (text, said) in [
            ("{", "EOF"),
            (r#"{"auths": {"a.example": {"auth": "%"}}}"#, "no Base64"),
            (r#"{"auths": {"a.example": {"auth": "Ym9i"}}}"#, "no password"),
            (r#"{"auths": {"a.example": {"identitytoken": "t"}}}"#, "identity token"),
            (r#"{"credHelpers": {"a.example": "../../evil"}}"#, "no name of a credential helper"),
            (r#"{"credsStore": "no-such-program"}"#, "docker-credential-no-such-program failed"),
        ] {
            let error = found(text, "a.example").err().unwrap().to_string();
            assert!(error.contains(said) && error.contains("config.json") && !error.contains("Ym9i"), "{error}");
        }
    }
}
