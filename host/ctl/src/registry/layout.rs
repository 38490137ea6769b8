//! What a component looks like in a registry: the CNCF's layout of Wasm artefacts, as `wkg` writes and reads it.
//!
//! A manifest with one layer, the component itself (`application/wasm`), and a small configuration that says what it
//! imports and exports. The layer's digest is the SHA-256 that a pipeline names.
//! Source: <https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/>.

use coordinator_core::guest::{Compiled, Digest};
use serde::Deserialize;
use serde_json::json;

const CONFIG: &str = "application/vnd.wasm.config.v0+json";
const LAYER: &str = "application/wasm";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What may be asked for: more than a stage is, so that something else can be named when it is found.
pub(super) const MANIFESTS: [&str; 4] = [
    MANIFEST,
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// A component, ready to be put into a registry beside itself.
#[derive(Debug)]
pub(super) struct Layout {
    /// The component's digest, `sha256:…`.
    pub(super) layer: String,
    pub(super) config: Vec<u8>,
    pub(super) config_digest: String,
    pub(super) manifest: Vec<u8>,
    pub(super) manifest_digest: String,
}

/// Lays a component out. The same component always gives the same bytes: it has no date and no author.
pub(super) fn write(component: &[u8], compiled: &Compiled) -> Layout {
    let layer = named(component);
    let config = json!({
        "created": "1970-01-01T00:00:00Z",
        "author": null,
        "architecture": "wasm",
        "os": "wasip2",
        "layerDigests": [layer],
        "component": { "exports": compiled.exports, "imports": compiled.imports, "target": compiled.world() },
    });
    let config = config.to_string().into_bytes();
    let config_digest = named(&config);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": { "mediaType": CONFIG, "digest": config_digest, "size": config.len() },
        "layers": [{ "mediaType": LAYER, "digest": layer, "size": component.len() }],
        "annotations": {
            "org.opencontainers.image.title": compiled.manifest.name,
            "org.opencontainers.image.version": compiled.manifest.version,
        },
    });
    let manifest = manifest.to_string().into_bytes();
    let manifest_digest = named(&manifest);
    Layout { layer, config, config_digest, manifest, manifest_digest }
}

/// A digest with its algorithm, as registries write it.
fn named(bytes: &[u8]) -> String {
    format!("sha256:{}", Digest::of(bytes))
}

/// The layer that is the component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) digest: Digest,
    pub(super) size: u64,
}

#[derive(Debug, Deserialize)]
struct Manifest {
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<serde_json::Value>>,
}

#[derive(Debug, Deserialize)]
struct Descriptor {
    #[serde(rename = "mediaType")]
    media_type: String,
    digest: String,
    size: u64,
}

/// The component's layer in a manifest; what it is instead, when it is no stage's.
pub(super) fn read(text: &[u8]) -> Result<Layer, String> {
    let manifest: Manifest =
        serde_json::from_slice(text).map_err(|error| format!("a manifest that cannot be read ({error})"))?;
    if let Some(manifests) = manifest.manifests {
        return Err(format!(
            "an index of {} manifests, such as a container image for several platforms",
            manifests.len()
        ));
    }
    let (Some(config), Some(layers)) = (manifest.config, manifest.layers) else {
        return Err(format!("a manifest of another kind ({})", manifest.media_type.as_deref().unwrap_or("unnamed")));
    };
    match config.media_type.as_str() {
        CONFIG => {}
        "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json" => {
            return Err("a container image".to_owned());
        }
        other => return Err(format!("an artefact of another kind (its configuration is {other})")),
    }
    let [layer] = layers.as_slice() else {
        return Err(format!("a Wasm artefact of {} layers; a stage has one", layers.len()));
    };
    if layer.media_type != LAYER {
        return Err(format!("a Wasm artefact whose layer is {}; a stage's is {LAYER}", layer.media_type));
    }
    let digest = layer.digest.strip_prefix("sha256:").and_then(|digest| digest.parse().ok());
    let digest = digest.ok_or_else(|| format!("a layer whose digest is no SHA-256 ({})", layer.digest))?;
    Ok(Layer { digest, size: layer.size })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:00000000000000000000000000000000000000000000000000000000000000aa";

    fn manifest(config: &str, layers: &[&str]) -> Vec<u8> {
        let descriptor = |kind: &str| json!({"mediaType": kind, "digest": DIGEST, "size": 7});
        let layers: Vec<_> = layers.iter().map(|kind| descriptor(kind)).collect();
        json!({"schemaVersion": 2, "config": descriptor(config), "layers": layers}).to_string().into_bytes()
    }

    #[test]
    fn a_stage_is_one_layer_of_wasm() {
        let layer = read(&manifest(CONFIG, &[LAYER])).unwrap();
        assert_eq!((format!("sha256:{}", layer.digest).as_str(), layer.size), (DIGEST, 7));
    }

    #[test]
    fn what_is_no_stage_is_named() {
        let index = json!({"schemaVersion": 2, "manifests": [{}, {}]}).to_string().into_bytes();
        let docker = "application/vnd.docker.container.image.v1+json";
        let tampered = String::from_utf8(manifest(CONFIG, &[LAYER])).unwrap().replace("sha256:", "sha512:");
        for (text, said) in [
            (index, "an index of 2 manifests"),
            (manifest(docker, &["application/vnd.docker.image.rootfs.diff.tar.gzip"]), "a container image"),
            (manifest("application/vnd.cncf.helm.config.v1+json", &[]), "helm"),
            (manifest(CONFIG, &[LAYER, LAYER]), "of 2 layers"),
            (manifest(CONFIG, &[]), "of 0 layers"),
            (manifest(CONFIG, &["application/octet-stream"]), "application/octet-stream"),
            (tampered.into_bytes(), "no SHA-256"),
            (b"{\"schemaVersion\": 1, \"mediaType\": \"old\"}".to_vec(), "another kind (old)"),
            (b"<html>".to_vec(), "cannot be read"),
        ] {
            let found = read(&text).unwrap_err();
            assert!(found.contains(said), "{said}: {found}");
        }
    }
}
