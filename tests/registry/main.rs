//! `coordinatorctl stage push` and `pull`, with a real registry: what goes in comes out, and nothing else does.

mod server;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use anyhow::Result;
use coordinator_core::guest::Digest;
use coordinator_guests::component;
use coordinator_lab::{run, tool};
use serde_json::{Value, json};

use server::{Server, Way, breaking_wire};

const PORT: u16 = 5000;
const WIRE: u16 = 5001;

/// Somebody at a desk: a folder with a component in it, and what `docker login` left.
struct Desk {
    folder: tempfile::TempDir,
    component: Vec<u8>,
}

impl Desk {
    fn set() -> Result<Self> {
        let (folder, component) = (tempfile::tempdir()?, component("vendor-mac", &[])?);
        fs::write(folder.path().join("mine.wasm"), &component)?;
        fs::create_dir(folder.path().join("docker"))?;
        Ok(Self { folder, component })
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn signs_in(&self, registry: &str, credentials: &str) -> Result<()> {
        let config = json!({"auths": {registry: {"auth": credentials}}});
        Ok(fs::write(self.path("docker/config.json"), config.to_string())?)
    }

    fn tool(&self, arguments: &[&str]) -> Result<Output> {
        Ok(self.command(arguments)?.output()?)
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(tool()?);
        command.current_dir(self.folder.path()).arg("stage").args(arguments);
        for variable in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(variable);
        }
        command.env("DOCKER_CONFIG", self.path("docker"));
        Ok(command)
    }

    /// What it answers, in JSON, when it is well.
    fn answer(&self, arguments: &[&str]) -> Result<Value> {
        let output = self.tool(&[arguments, &["--json"]].concat())?;
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// What it complains, when it fails with this code; nothing new lies on the desk then.
    fn complaint(&self, arguments: &[&str], code: i32) -> Result<String> {
        let before = files(self.folder.path())?;
        let output = self.tool(arguments)?;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
        assert!(output.stdout.is_empty() && files(self.folder.path())? == before, "{arguments:?}");
        Ok(said(&output))
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

/// Every file of a folder, with its content.
fn files(folder: &Path) -> Result<Vec<(std::ffi::OsString, Vec<u8>)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            found.push((entry.file_name(), fs::read(entry.path())?));
        }
    }
    found.sort();
    Ok(found)
}

#[test]
fn what_is_pushed_is_pulled_by_tag_and_by_digest() {
    run(|_| {
        let (server, desk) = (Server::start(PORT)?, Desk::set()?);
        let place = server.reference("stages/vendor-mac:0.1.0");
        let pushed = desk.answer(&["push", &place, "mine.wasm"])?;
        let sha256 = Digest::of(&desk.component).to_string();
        assert_eq!((&pushed["sha256"], &pushed["name"]), (&json!(sha256), &json!("vendor-mac")));

        let pulled = desk.answer(&["pull", &place])?;
        assert_eq!(fs::read(desk.path("vendor-mac.wasm"))?, desk.component);
        assert_eq!(pulled["file"], "vendor-mac.wasm");
        for key in ["sha256", "name", "version", "bytes", "manifest", "pinned", "reference"] {
            assert_eq!(pushed[key], pulled[key], "{key}");
        }
        let pinned = pushed["pinned"].as_str().unwrap();
        assert_eq!(pinned, server.reference(&format!("stages/vendor-mac@{}", pushed["manifest"].as_str().unwrap())));
        // Over something older, which is replaced as a whole.
        fs::write(desk.path("other.wasm"), "older")?;
        let output = desk.tool(&["pull", pinned, "--output", "other.wasm"])?;
        assert!(said(&output).contains(&format!("sha256 = \"{sha256}\"")), "{}", said(&output));
        assert_eq!(fs::read(desk.path("other.wasm"))?, desk.component);

        // The same component is the same artefact, whenever and by whomever it is pushed.
        let again = desk.answer(&["push", &server.reference("stages/vendor-mac:again"), "other.wasm"])?;
        assert_eq!(again["manifest"], pushed["manifest"]);
        Ok(())
    });
}

/// Looked at without our own reader: the layout that `wkg` and others read.
#[test]
fn it_lies_there_as_other_tools_expect_it() {
    run(|_| {
        let (server, desk) = (Server::start(PORT)?, Desk::set()?);
        desk.answer(&["push", &server.reference("vendor-mac:1"), "mine.wasm"])?;
        let manifest = server.manifest("vendor-mac", "1")?;
        let sha256 = format!("sha256:{}", Digest::of(&desk.component));
        assert_eq!(manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json");
        assert_eq!(manifest["config"]["mediaType"], "application/vnd.wasm.config.v0+json");
        let layer = json!({"mediaType": "application/wasm", "digest": sha256, "size": desk.component.len()});
        assert_eq!(manifest["layers"], json!([layer]));
        assert_eq!(manifest["annotations"]["org.opencontainers.image.title"], "vendor-mac");
        let config: Value =
            serde_json::from_slice(&fs::read(server.blob(manifest["config"]["digest"].as_str().unwrap()))?)?;
        assert_eq!((&config["architecture"], &config["os"]), (&json!("wasm"), &json!("wasip2")));
        assert_eq!(config["layerDigests"], json!([sha256]));
        let of_component = &config["component"];
        let exports = of_component["exports"].as_array().unwrap();
        assert!(["describe", "check", "decide"].iter().all(|name| exports.contains(&json!(name))), "{config}");
        assert!(
            of_component["imports"].as_array().unwrap().contains(&json!("coordinator:stage/host@0.1.0")),
            "{config}"
        );
        assert_eq!(of_component["target"], "coordinator:stage/stage@0.1.0");
        Ok(())
    });
}

#[test]
fn only_who_has_the_password_gets_in() {
    run(|_| {
        let (server, desk) = (Server::for_bob(PORT)?, Desk::set()?);
        let place = server.reference("stages/vendor-mac:1");
        let registry = format!("127.0.0.1:{PORT}");
        let denied = |who: &str| -> Result<()> {
            for arguments in [["push", &place, "mine.wasm"].as_slice(), &["pull", &place]] {
                let said = desk.complaint(arguments, 74)?;
                for part in [&registry, &place, who, &format!("docker login {registry}")] {
                    assert!(said.contains(part), "{part}: {said}");
                }
                assert!(!said.contains("rails"), "{said}");
            }
            Ok(())
        };
        denied("an anonymous caller (there is no")?;
        desk.signs_in("registry.example", "Ym9iOnJhaWxzLWFuZC1tb3Jl")?;
        denied(&format!("names nobody for {registry}"))?;
        // "bob:rails-and-less"
        desk.signs_in(&registry, "Ym9iOnJhaWxzLWFuZC1sZXNz")?;
        denied("user \"bob\" of ")?;
        // "bob:rails-and-more"
        desk.signs_in(&registry, "Ym9iOnJhaWxzLWFuZC1tb3Jl")?;
        desk.answer(&["push", &place, "mine.wasm"])?;
        desk.answer(&["pull", &place])?;
        assert_eq!(fs::read(desk.path("vendor-mac.wasm"))?, desk.component);
        Ok(())
    });
}

#[test]
fn a_password_is_asked_of_the_program_that_keeps_it() {
    run(|_| {
        let (server, desk) = (Server::for_bob(PORT)?, Desk::set()?);
        let place = server.reference("stages/vendor-mac:1");
        let helper = "#!/bin/sh\nread -r server\ntest \"$1 $server\" = 'get 127.0.0.1:5000' || { echo 'credentials not \
                      found in native keychain'; exit 1; }\necho '{\"Username\": \"bob\", \"Secret\": \"rails-and-more\"}'\n";
        let path = desk.path("docker-credential-lab");
        fs::write(&path, helper)?;
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        fs::write(desk.path("docker/config.json"), r#"{"credsStore": "lab"}"#)?;
        let mut push = desk.command(&["push", &place, "mine.wasm"])?;
        push.env("PATH", format!("{}:{}", desk.folder.path().display(), std::env::var("PATH")?));
        let output = push.output()?;
        assert!(output.status.success(), "{}", said(&output));
        Ok(())
    });
}

#[test]
fn beyond_this_machine_a_registry_must_be_known() {
    run(|lab| {
        lab.node.ip(&["address add 203.0.113.5/32 dev lo"])?;
        let (server, desk) = (Server::with_certificate(("203.0.113.5", PORT))?, Desk::set()?);
        let place = server.reference("vendor-mac:1");
        let said = desk.complaint(&["push", &place, "mine.wasm"], 74)?;
        assert!(said.contains("UnknownIssuer") && said.contains("SSL_CERT_FILE"), "{said}");
        let said = desk.complaint(&["pull", "--plain-http", &place], 74)?;
        assert!(said.contains("HTTPS server"), "{said}");
        for arguments in [["push", &place, "mine.wasm"].as_slice(), &["pull", &place]] {
            let mut command = desk.command(arguments)?;
            let output = command.env("SSL_CERT_FILE", server.folder.path().join("authority.pem")).output()?;
            assert!(output.status.success(), "{}", self::said(&output));
        }
        assert_eq!(fs::read(desk.path("vendor-mac.wasm"))?, desk.component);
        Ok(())
    });
}

#[test]
fn bytes_that_nobody_promised_are_not_written() {
    run(|_| {
        let (server, desk) = (Server::start(PORT)?, Desk::set()?);
        let place = server.reference("vendor-mac:1");
        let pushed = desk.answer(&["push", &place, "mine.wasm"])?;
        let blob = server.blob(pushed["sha256"].as_str().unwrap());
        fs::write(desk.path("vendor-mac.wasm"), "older")?;
        for (at, change) in [(0, 1), (desk.component.len() / 2, 0x80), (desk.component.len() - 1, 4)] {
            let mut bytes = desk.component.clone();
            bytes[at] ^= change;
            fs::write(&blob, &bytes)?;
            let said = desk.complaint(&["pull", &place], 1)?;
            let found = Digest::of(&bytes).to_string();
            assert!(
                said.contains(&place) && said.contains("is not what it should be") && said.contains(&found),
                "{said}"
            );
        }
        // A manifest that was changed where its digest is known.
        fs::write(&blob, &desk.component)?;
        let manifest = server.blob(pushed["manifest"].as_str().unwrap());
        let text = fs::read_to_string(&manifest)?;
        fs::write(&manifest, text.replace("0.1.0", "9.1.0"))?;
        let said = desk.complaint(&["pull", pushed["pinned"].as_str().unwrap()], 1)?;
        assert!(
            said.contains("is not what it should be") && said.contains(pushed["manifest"].as_str().unwrap()),
            "{said}"
        );
        fs::write(&manifest, text)?;
        desk.answer(&["pull", pushed["pinned"].as_str().unwrap()])?;
        assert_eq!(fs::read(desk.path("vendor-mac.wasm"))?, desk.component);
        Ok(())
    });
}

#[test]
fn a_wire_that_breaks_leaves_nothing_half_done() {
    run(|_| {
        let (server, desk) = (Server::start(PORT)?, Desk::set()?);
        let (place, by_wire) = (server.reference("vendor-mac:1"), format!("127.0.0.1:{WIRE}/vendor-mac:1"));
        breaking_wire(WIRE, PORT, Way::Up, 100_000)?;
        let said = desk.complaint(&["push", &by_wire, "mine.wasm"], 74)?;
        assert!(said.contains(&format!("registry 127.0.0.1:{WIRE} cannot be asked about {by_wire}")), "{said}");
        let missing = desk.complaint(&["pull", &place], 66)?;
        assert!(missing.contains(&format!("has no {place}")), "{missing}");
        desk.answer(&["push", &place, "mine.wasm"])?;
        desk.answer(&["pull", &place])?;

        breaking_wire(WIRE + 1, PORT, Way::Down, 100_000)?;
        let by_wire = format!("127.0.0.1:{}/vendor-mac:1", WIRE + 1);
        let said = desk.complaint(&["pull", &by_wire, "--output", "half.wasm"], 74)?;
        assert!(said.contains(&by_wire) && said.contains(&format!("of {} bytes", desk.component.len())), "{said}");

        drop(server);
        for arguments in [["push", &place, "mine.wasm"].as_slice(), &["pull", &place]] {
            let said = desk.complaint(arguments, 74)?;
            assert!(said.contains("see that it runs") && said.contains("refused"), "{said}");
        }
        Ok(())
    });
}

#[test]
fn what_is_no_stage_is_named_and_left_there() {
    run(|_| {
        let (server, desk) = (Server::start(PORT)?, Desk::set()?);
        let descriptor = |kind: &str, bytes: &[u8]| -> Result<Value> {
            let digest = server.put_blob("other", bytes)?;
            Ok(json!({"mediaType": kind, "digest": digest, "size": bytes.len()}))
        };
        let manifest = |config: Value, layer: Value| {
            let kind = "application/vnd.oci.image.manifest.v1+json";
            json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]})
        };
        let layer = descriptor("application/vnd.oci.image.layer.v1.tar+gzip", b"a layer")?;
        let image = manifest(descriptor("application/vnd.oci.image.config.v1+json", b"{}")?, layer.clone());
        server.put_manifest("other", "image", &image)?;
        let digest = format!("sha256:{}", Digest::of(image.to_string().as_bytes()));
        let entry = json!({
            "mediaType": image["mediaType"], "digest": digest, "size": image.to_string().len(),
            "platform": {"os": "linux", "architecture": "amd64"},
        });
        let index = "application/vnd.oci.image.index.v1+json";
        server.put_manifest(
            "other",
            "index",
            &json!({"schemaVersion": 2, "mediaType": index, "manifests": [entry]}),
        )?;
        let config = "application/vnd.wasm.config.v0+json";
        server.put_manifest(
            "other",
            "chart",
            &manifest(descriptor("application/vnd.cncf.helm.config.v1+json", b"{ }")?, layer),
        )?;
        // A core module, and a component of somebody else's world.
        let other = wat::parse_str("(component (import \"wasi:clocks/wall-clock@0.2.0\" (instance)))")?;
        for (tag, bytes) in [("module", b"\0asm\x01\0\0\0".to_vec()), ("foreign", other), ("text", b"hello".to_vec())] {
            server.put_manifest(
                "other",
                tag,
                &manifest(descriptor(config, b"{}")?, descriptor("application/wasm", &bytes)?),
            )?;
        }
        for (tag, expected) in [
            ("image", "is no stage but a container image"),
            ("index", "is no stage but an index of 1 manifests"),
            ("chart", "is no stage but an artefact of another kind (its configuration is application/vnd.cncf.helm"),
            ("module", "is no component"),
            ("text", "is no component"),
            ("foreign", "it imports wasi:clocks/wall-clock@0.2.0"),
        ] {
            let place = server.reference(&format!("other:{tag}"));
            let said = desk.complaint(&["pull", &place], 1)?;
            assert!(said.contains(&place) && said.contains(expected), "{tag}: {said}");
        }
        Ok(())
    });
}

#[test]
fn what_cannot_be_meant_is_said_before_anybody_is_asked() {
    let desk = Desk::set().unwrap();
    fs::write(desk.path("module.wasm"), b"\0asm\x01\0\0\0").unwrap();
    let fixed = format!("127.0.0.1:{PORT}/a@sha256:{}", "0a".repeat(32));
    for (arguments, code, expected) in [
        (["push", "vendor-mac:1", "mine.wasm"].as_slice(), 2, "does not begin with a registry"),
        (&["pull", "registry.example/vendor-mac"], 2, "neither a tag nor a digest"),
        (&["push", &fixed, "mine.wasm"], 2, "name a tag"),
        (&["push", "127.0.0.1:5000/a:1", "module.wasm"], 1, "is no component"),
        (&["push", "127.0.0.1:5000/a:1", "nothing.wasm"], 66, "nothing.wasm"),
    ] {
        let said = desk.complaint(arguments, code).unwrap();
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
    fs::write(desk.path("docker/config.json"), "{").unwrap();
    let said = desk.complaint(&["pull", "127.0.0.1:5000/a:1"], 78).unwrap();
    assert!(said.contains("docker/config.json") && said.contains("DOCKER_CONFIG"), "{said}");
}
