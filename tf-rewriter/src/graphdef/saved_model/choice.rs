//! Which of a model's graphs and signatures is meant.

use std::collections::BTreeSet;

use quant_math::config::nearest;

use super::{MetaGraph, SavedModel};
use crate::error::{ContainerError, Error};
use crate::graphdef::pb::SignatureDef;

/// What the caller says of it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Choice<'a> {
    /// The tags of the meta graph; none where the caller has not said.
    pub(crate) tags: Option<&'a [String]>,
    pub(crate) signature: Option<&'a str>,
}

impl SavedModel {
    /// The meta graph with these tags; without tags the only one, else the one for `serve` alone, else the one with `serve` among its tags.
    ///
    /// # Errors
    /// [`ContainerError::Tags`] where none is meant, or several may be.
    pub(crate) fn meta_graph(&self, choice: Choice<'_>) -> Result<&MetaGraph, Error> {
        let all = self.meta_graphs();
        let set = |tags: &[String]| tags.iter().cloned().collect::<BTreeSet<String>>();
        if let Some(asked) = choice.tags {
            let meant: Vec<&MetaGraph> = all.iter().filter(|meta| set(meta.tags()) == set(asked)).collect();
            return match meant.as_slice() {
                [one] => Ok(one),
                [] => Err(self.tags_error(format!("no meta graph has the tags {}", listed(asked)))),
                _ => Err(self.tags_error(format!("{} meta graphs have the tags {}", meant.len(), listed(asked)))),
            };
        }
        if let [one] = all {
            return Ok(one);
        }
        let serves = |meta: &&MetaGraph| meta.tags().iter().any(|tag| tag == "serve");
        let alone: Vec<&MetaGraph> = all.iter().filter(|meta| meta.tags() == ["serve"]).collect();
        let among: Vec<&MetaGraph> = all.iter().filter(serves).collect();
        match (alone.as_slice(), among.as_slice()) {
            ([one], _) | ([], [one]) => Ok(one),
            _ if all.is_empty() => Err(self.tags_error("the model holds no meta graph".to_owned())),
            _ => {
                Err(self.tags_error(format!("the model holds {} meta graphs, and none is the one to serve", all.len())))
            }
        }
    }

    fn tags_error(&self, message: String) -> Error {
        let known: Vec<String> = self.meta_graphs().iter().map(|meta| listed(meta.tags())).collect();
        let help = match known.as_slice() {
            [] => "save the model again".to_owned(),
            known => format!("choose one with `--tags`: {}", known.join(" or ")),
        };
        self.in_own_file(ContainerError::Tags { message, help }.into())
    }

    /// The signature with this key; without a key `serving_default`, else the only one. `None` where the meta graph has no signature, and none
    /// was asked for.
    ///
    /// # Errors
    /// [`ContainerError::Signature`] where none is meant, or several may be.
    pub(crate) fn signature<'m>(
        &self,
        meta: &'m MetaGraph,
        choice: Choice<'_>,
    ) -> Result<Option<(&'m str, &'m SignatureDef)>, Error> {
        let all: Vec<(&str, &SignatureDef)> = meta.signatures().collect();
        let known: Vec<&str> = all.iter().map(|(key, _)| *key).collect();
        let wrong =
            |message: String, help: String| Err(self.in_own_file(ContainerError::Signature { message, help }.into()));
        let list = || known.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        if let Some(asked) = choice.signature {
            let found = all.iter().find(|(key, _)| *key == asked);
            return match found {
                Some(found) => Ok(Some(*found)),
                None if known.is_empty() => wrong(
                    format!("there is no signature `{asked}`: the model has none"),
                    "name the nodes that it is run for with `--outputs`".to_owned(),
                ),
                None => wrong(
                    format!("there is no signature `{asked}`"),
                    match nearest(asked, known.iter().copied()) {
                        Some(near) => format!("did you mean `{near}`? The model has {}", list()),
                        None => format!("the model has {}", list()),
                    },
                ),
            };
        }
        match all.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(*one)),
            all => match all.iter().find(|(key, _)| *key == "serving_default") {
                Some(found) => Ok(Some(*found)),
                None => wrong(
                    format!("the model has {} signatures, and none is called `serving_default`", all.len()),
                    format!("choose one with `--signature`: {}", list()),
                ),
            },
        }
    }
}

fn listed(tags: &[String]) -> String {
    format!("`{}`", tags.join(","))
}
