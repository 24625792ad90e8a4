//! What is asked for when everything was made.

use std::collections::BTreeMap;

use super::Inliner;
use super::instance::Made;
use crate::error::Error;
use crate::graphdef::graph::Elsewhere;
use crate::graphdef::index::{fields, payload};
use crate::graphdef::saved_model::Home;
use crate::graphdef::wire::put_bytes;

impl Inliner<'_> {
    /// Calls that were inlined.
    pub(in crate::prepare) fn calls(&self) -> usize {
        self.calls
    }

    /// Constants of the main graph that are paths of assets, with the assets' names.
    pub(in crate::prepare) fn assets(&self) -> Vec<(String, String)> {
        let Some(main) = self.bodies.first() else { return Vec::new() };
        let own = self.variables.asset_files.iter().filter_map(|(node, file)| {
            let made = self.instances.first()?.made(*node)?;
            let (Made::Node { node, .. } | Made::Only { node, .. }) = made else { return None };
            Some((main.nodes.get(*node)?.name.to_string(), file.clone()))
        });
        own.collect()
    }

    /// Where the elements of the constants that were made stand in the model.
    pub(in crate::prepare) fn homes(&self) -> Result<BTreeMap<String, Home>, Error> {
        let mut homes = BTreeMap::new();
        let Some(main) = self.bodies.first() else { return Ok(homes) };
        for (variable, name) in &main.constants {
            if let Some(key) = self.variables.key(*variable) {
                let second = self.variables.second(*variable).cloned();
                let is_trained = self.variables.is_trained(*variable);
                homes.insert(name.to_string(), Home::Checkpoint { key: key.clone(), second, is_trained });
            }
        }
        for (node, id) in &self.copied {
            let (Some(node), Some(tensor)) = (main.nodes.get(*node), self.graph.constant_span(*id)?) else { continue };
            let mut walk = fields(self.graph.bytes(), tensor, "TensorProto");
            while let Some(field) = walk.next()? {
                if field.number == 4 {
                    let content = payload(&field, "TensorProto.tensor_content")?;
                    homes.insert(node.name.to_string(), Home::File(content));
                }
            }
        }
        Ok(homes)
    }

    pub(in crate::prepare) fn into_elsewhere(self) -> Elsewhere {
        self.constants.into_elsewhere()
    }

    /// The GraphDef that was made: node = 1, library = 2, versions = 4.
    pub(in crate::prepare) fn finish(&self, versions: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(main) = self.bodies.first() {
            main.encode(1, &mut bytes);
        }
        let library = self.library();
        if !library.is_empty() {
            put_bytes(&mut bytes, 2, &library);
        }
        bytes.extend_from_slice(versions);
        bytes
    }
}
