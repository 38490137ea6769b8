//! A registry of OCI artefacts: where vendors put components and platform teams take them from.
//!
//! One conversation about one reference, for `coordinatorctl stage push` and `pull`. What a component looks like there
//! is [`layout`]; who speaks is [`credentials`]; what goes wrong is [`failure`]. Nothing is believed that a registry
//! says of the bytes it sends: their digest is computed here.
//!
//! Architecture invariant: `oci_client` appears in this room and nowhere else, and only this program has it: no ADD
//! ever waits for a registry.

mod credentials;
mod failure;
mod layout;
mod place;

use std::time::Duration;

use coordinator_core::guest::{Compiled, Digest};
use futures::StreamExt as _;
use oci_client::{
    Client, RegistryOperation,
    client::{ClientConfig, ClientProtocol},
};
use tokio::runtime::{Builder, Runtime};

pub(crate) use failure::RegistryError;
pub(crate) use place::Place;

use credentials::Credentials;
use layout::Layer;

/// How long a registry may take to accept a connection, and to send the next bytes of an answer.
const CONNECT: Duration = Duration::from_secs(10);
const READ: Duration = Duration::from_secs(60);
/// More than any component has, bytes.
const LIMIT: u64 = 256 << 20;

/// A place in a registry, and who speaks with it.
pub(crate) struct Registry {
    place: Place,
    credentials: Credentials,
    client: Client,
    runtime: Runtime,
}

/// A component as it came out of a registry.
pub(crate) struct Pulled {
    /// Its bytes, of the digest that the manifest names.
    pub(crate) component: Vec<u8>,
    /// The manifest's digest, `sha256:…`: it names this very version for ever.
    pub(crate) manifest: String,
}

impl Registry {
    /// Makes ready to speak; nothing is sent yet.
    ///
    /// # Errors
    /// There are no credentials that can be used, or this machine trusts nobody.
    pub(crate) fn open(place: Place) -> Result<Self, RegistryError> {
        let credentials = Credentials::of(place.registry())?;
        // The client loads the machine's certificates whether it needs them or not, and is not ready for their absence.
        if rustls_native_certs::load_native_certs().certs.is_empty() {
            return Err(RegistryError::NoCertificates);
        }
        // A second call changes nothing, and fails for no other reason.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let protocol = if place.is_plain() { ClientProtocol::Http } else { ClientProtocol::Https };
        let user_agent = concat!("coordinatorctl/", env!("CARGO_PKG_VERSION"));
        let (connect_timeout, read_timeout) = (Some(CONNECT), Some(READ));
        let config = ClientConfig { protocol, connect_timeout, read_timeout, user_agent, ..ClientConfig::default() };
        let client = Client::try_from(config).map_err(|error| RegistryError::of(error, &place, &credentials))?;
        let runtime = Builder::new_current_thread().enable_all().build().map_err(RegistryError::Runtime)?;
        Ok(Self { place, credentials, client, runtime })
    }

    /// Puts a component there; the digest of its manifest.
    ///
    /// # Errors
    /// The registry cannot be reached, or does not want it.
    pub(crate) fn push(&self, component: &[u8], compiled: &Compiled) -> Result<String, RegistryError> {
        let layout = layout::write(component, compiled);
        let content_type = oci_client::manifest::OCI_IMAGE_MEDIA_TYPE;
        let send = async {
            let (client, reference) = (&self.client, self.place.reference());
            client.auth(reference, &self.credentials.auth, RegistryOperation::Push).await?;
            // The manifest last: until it is there, nobody can find the rest.
            for (digest, blob) in [(&layout.layer, component), (&layout.config_digest, &layout.config)] {
                if !client.blob_exists(reference, digest).await? {
                    client.push_blob(reference, blob.to_vec(), digest).await?;
                }
            }
            let media_type = content_type.parse().map_err(|_| {
                oci_client::errors::OciDistributionError::UnsupportedMediaTypeError(content_type.to_owned())
            })?;
            client.push_manifest_raw(reference, layout.manifest.clone(), media_type).await
        };
        self.runtime.block_on(send).map_err(|error| self.failed(error))?;
        Ok(layout.manifest_digest)
    }

    /// Takes a component from there.
    ///
    /// # Errors
    /// The registry cannot be reached or does not give it, what it gives is none, or not what the manifest names.
    pub(crate) fn pull(&self) -> Result<Pulled, RegistryError> {
        self.runtime.block_on(async {
            let (client, reference) = (&self.client, self.place.reference());
            let auth = &self.credentials.auth;
            let found = async {
                client.auth(reference, auth, RegistryOperation::Pull).await?;
                client.pull_manifest_raw(reference, auth, &layout::MANIFESTS).await
            };
            let (text, manifest) = found.await.map_err(|error| self.failed(error))?;
            let layer = layout::read(&text).map_err(|found| self.place.holds(found))?;
            if layer.size > LIMIT {
                return Err(self.place.holds(format!("something of {} bytes; no stage has so many", layer.size)));
            }
            let component = self.blob(&layer).await?;
            Ok(Pulled { component, manifest })
        })
    }

    /// A blob, of the size and digest that were promised.
    async fn blob(&self, layer: &Layer) -> Result<Vec<u8>, RegistryError> {
        let digest = format!("sha256:{}", layer.digest);
        let stream = self.client.pull_blob_stream(self.place.reference(), digest.as_str()).await;
        let mut stream = stream.map_err(|error| self.failed(error))?.stream;
        let (mut bytes, mut broken) = (Vec::new(), None);
        while let Some(piece) = stream.next().await {
            match piece {
                Ok(piece) => bytes.extend_from_slice(&piece),
                Err(error) => broken = Some(error),
            }
            // A registry may go on for ever; what is too long is not what was promised.
            if broken.is_some() || length(&bytes) > layer.size {
                break;
            }
        }
        let found = Digest::of(&bytes);
        match broken {
            _ if found == layer.digest => Ok(bytes),
            Some(source) if length(&bytes) < layer.size => Err(RegistryError::Broken {
                place: self.place.to_string(),
                received: length(&bytes),
                promised: layer.size,
                source,
            }),
            _ => {
                let found = format!("sha256:{found}");
                Err(RegistryError::Tampered { place: self.place.to_string(), promised: digest, found })
            }
        }
    }

    fn failed(&self, error: oci_client::errors::OciDistributionError) -> RegistryError {
        RegistryError::of(error, &self.place, &self.credentials)
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
