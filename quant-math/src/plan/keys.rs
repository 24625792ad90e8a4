//! Keys of a written plan that do not exist: where they stand, and which one was meant.

use std::fmt::Write as _;

use serde::Deserialize;
use serde::de::value::Error;
use serde::de::{Deserializer, Visitor};
use serde_ignored::Path;

use super::fault::{PlanFault, PlanFaultKind as Kind};
use super::{Plan, Reason, Settings, Site};
use crate::config::nearest;
use crate::fold::Folded;
use crate::range::Range;

/// The fault of a key that nothing reads, with the nearest one that stands in its place.
pub(super) fn unknown(path: &Path<'_>) -> PlanFault {
    let near = match path {
        Path::Map { parent, key } => nearest(key, known(parent)),
        _ => None,
    };
    let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    PlanFault::new(Kind::Form, place(path), format!("unknown key{hint}"))
}

/// The keys of the map at a path.
fn known(path: &Path<'_>) -> Vec<&'static str> {
    match path {
        Path::Root => fields::<Plan>().to_vec(),
        // Which of the two decisions it is does not stand in the path.
        Path::Map { key, .. } if key == "decision" => [fields::<Settings>(), fields::<Reason>()].concat(),
        Path::Map { key, .. } if key == "sites" => fields::<Site>().to_vec(),
        Path::Map { key, .. } if key == "folds" => fields::<Folded>().to_vec(),
        Path::Map { key, .. } if key == "range" => fields::<Range>().to_vec(),
        Path::Map { key, .. } if key == "warnings" || key == "prepared" => fields::<Reason>().to_vec(),
        Path::Map { .. } => Vec::new(),
        Path::Seq { parent, .. }
        | Path::Some { parent }
        | Path::NewtypeStruct { parent }
        | Path::NewtypeVariant { parent } => known(parent),
    }
}

/// As the other faults say it: `sites[3].range.mim`.
fn place(path: &Path<'_>) -> String {
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => {
            let mut text = place(parent);
            let _never_fails = write!(text, "[{index}]");
            text
        }
        Path::Map { parent, key } => match place(parent) {
            text if text.is_empty() => key.clone(),
            text => format!("{text}.{key}"),
        },
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => place(parent),
    }
}

/// The names that a struct has in JSON.
fn fields<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut found: &'static [&'static str] = &[];
    // It asks for its fields, and is told that there are none.
    let _no_value = T::deserialize(Asked(&mut found));
    found
}

/// Takes down what is asked for, and has nothing to give.
struct Asked<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Asked<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(serde::de::Error::custom("nothing is here"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct seq
        tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_struct_says_which_fields_it_has() {
        assert_eq!(fields::<Range>(), ["min", "max"]);
        assert_eq!(fields::<Reason>(), ["code", "text"]);
        assert!(fields::<Settings>().contains(&"quant_start_step"));
        assert!(fields::<u32>().is_empty());
    }
}
