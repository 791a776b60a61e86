//! An archive of an image, read with nothing of coil's own code.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// The members of an archive.
pub struct Oci {
    /// Contents by name.
    pub members: BTreeMap<String, Vec<u8>>,
}

impl Oci {
    /// Reads an archive.
    pub fn read(path: &Path) -> Oci {
        let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut members = BTreeMap::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            assert!(members.insert(name.clone(), content).is_none(), "{name} is there twice");
        }
        Oci { members }
    }

    /// A member as JSON.
    pub fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.members[name]).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The blob with this digest.
    pub fn blob(&self, digest: &Value) -> &[u8] {
        let hex = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
        let name = format!("blobs/sha256/{hex}");
        let bytes = self.members.get(&name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(sha256(bytes), digest.as_str().unwrap());
        bytes
    }

    /// The manifest of the only image.
    pub fn manifest(&self) -> Value {
        let index = self.json("index.json");
        assert_eq!(index["manifests"].as_array().unwrap().len(), 1);
        serde_json::from_slice(self.blob(&index["manifests"][0]["digest"])).unwrap()
    }

    /// The image's id: the digest of its configuration.
    pub fn id(&self) -> String {
        self.manifest()["config"]["digest"].as_str().unwrap().to_owned()
    }

    /// Its configuration.
    pub fn config(&self) -> Value {
        serde_json::from_slice(self.blob(&self.manifest()["config"]["digest"])).unwrap()
    }

    /// The layers' digests, bottom first.
    pub fn layers(&self) -> Vec<String> {
        let manifest = self.manifest();
        let layers = manifest["layers"].as_array().unwrap().iter();
        layers.map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
    }

    /// The parts that the layers are, bottom first.
    pub fn parts(&self) -> Vec<String> {
        let manifest = self.manifest();
        let layers = manifest["layers"].as_array().unwrap().iter();
        layers.map(|layer| layer["annotations"]["coil.part"].as_str().unwrap().to_owned()).collect()
    }

    /// The layers as tar archives, bottom first; each has the diff_id that the configuration says.
    pub fn archives(&self) -> Vec<Vec<u8>> {
        let (manifest, config) = (self.manifest(), self.config());
        let layers = manifest["layers"].as_array().unwrap().iter();
        let diff_ids = config["rootfs"]["diff_ids"].as_array().unwrap();
        assert_eq!(layers.len(), diff_ids.len());
        let unpacked = layers.zip(diff_ids).map(|(layer, diff_id)| {
            let blob = self.blob(&layer["digest"]);
            assert_eq!(blob.len() as u64, layer["size"].as_u64().unwrap());
            let kind = layer["mediaType"].as_str().unwrap();
            let archive = match kind.strip_prefix("application/vnd.oci.image.layer.v1.tar").unwrap() {
                "+zstd" => zstd::decode_all(blob).unwrap(),
                "+gzip" => {
                    let mut bytes = Vec::new();
                    flate2::read::GzDecoder::new(blob).read_to_end(&mut bytes).unwrap();
                    bytes
                }
                "" => blob.to_vec(),
                other => panic!("{other}"),
            };
            assert_eq!(sha256(&archive), diff_id.as_str().unwrap());
            archive
        });
        unpacked.collect()
    }

    /// Unpacks the image into `root`, layer over layer, as an engine does.
    pub fn unpack(&self, root: &Path) {
        for archive in self.archives() {
            let mut archive = tar::Archive::new(archive.as_slice());
            archive.set_preserve_permissions(true);
            archive.set_overwrite(true);
            archive.unpack(root).unwrap();
        }
    }
}

/// `sha256:HEX`
pub fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    format!("sha256:{}", digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}
