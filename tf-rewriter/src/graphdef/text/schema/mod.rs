//! The messages of `proto/graph.proto` as plain tables.

mod table;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use table::{ENUMS, GRAPH, MESSAGES, META_GRAPH, SAVED_MODEL};

/// A message type: its position in [`Schema::messages`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MessageId(usize);

/// An enum type: its position in [`Schema::enums`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EnumId(usize);

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Int32,
    Int64,
    Uint32,
    Uint64,
    Fixed64,
    Float,
    Double,
    Bool,
    String,
    Bytes,
    Enum(EnumId),
    Message(MessageId),
}

impl Kind {
    /// The wire type of a single value.
    pub(super) fn wire_type(self) -> u8 {
        match self {
            Self::Int32 | Self::Int64 | Self::Uint32 | Self::Uint64 | Self::Bool | Self::Enum(_) => 0,
            Self::Fixed64 | Self::Double => 1,
            Self::String | Self::Bytes | Self::Message(_) => 2,
            Self::Float => 5,
        }
    }

    /// Whether repeated values share one length-delimited field.
    pub(super) fn packs(self) -> bool {
        self.wire_type() != 2
    }
}

/// A field of a message.
#[derive(Debug)]
pub(super) struct FieldSpec {
    pub(super) name: &'static str,
    pub(super) number: u32,
    pub(super) kind: Kind,
    pub(super) repeated: bool,
    /// The oneof it belongs to, by position in its message.
    pub(super) oneof: Option<i32>,
}

/// A message type.
#[derive(Debug, Default)]
pub(super) struct MessageSpec {
    pub(super) name: &'static str,
    fields: &'static [FieldSpec],
    by_name: BTreeMap<&'static str, &'static FieldSpec>,
    by_number: BTreeMap<u32, &'static FieldSpec>,
}

impl MessageSpec {
    fn new(&(name, fields): &(&'static str, &'static [FieldSpec])) -> Self {
        Self {
            name,
            fields,
            by_name: fields.iter().map(|field| (field.name, field)).collect(),
            by_number: fields.iter().map(|field| (field.number, field)).collect(),
        }
    }

    pub(super) fn by_name(&self, name: &str) -> Option<&'static FieldSpec> {
        self.by_name.get(name).copied()
    }

    pub(super) fn by_number(&self, number: u32) -> Option<&'static FieldSpec> {
        self.by_number.get(&number).copied()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.fields.iter().map(|field| field.name)
    }
}

#[derive(Debug, Default)]
pub(super) struct EnumSpec {
    pub(super) name: &'static str,
    by_name: BTreeMap<&'static str, i32>,
    by_number: BTreeMap<i32, &'static str>,
}

impl EnumSpec {
    fn new(&(name, values): &(&'static str, &'static [(&'static str, i32)])) -> Self {
        Self {
            name,
            by_name: values.iter().copied().collect(),
            by_number: values.iter().map(|(name, number)| (*number, *name)).collect(),
        }
    }

    pub(super) fn number(&self, name: &str) -> Option<i32> {
        self.by_name.get(name).copied()
    }

    pub(super) fn name_of(&self, number: i32) -> Option<&'static str> {
        self.by_number.get(&number).copied()
    }
}

/// All types.
#[derive(Debug)]
pub(super) struct Schema {
    messages: Vec<MessageSpec>,
    enums: Vec<EnumSpec>,
    /// What stands for a type that is not there; empty.
    nothing: (MessageSpec, EnumSpec),
    /// GraphDef.
    pub(super) graph: MessageId,
    /// MetaGraphDef.
    pub(super) meta_graph: MessageId,
    /// SavedModel.
    pub(super) saved_model: MessageId,
}

impl Schema {
    /// The types of `proto/`.
    pub(super) fn get() -> &'static Self {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(Schema::build);
        &SCHEMA
    }

    pub(super) fn message(&self, id: MessageId) -> &MessageSpec {
        self.messages.get(id.0).unwrap_or(&self.nothing.0)
    }

    pub(super) fn enumeration(&self, id: EnumId) -> &EnumSpec {
        self.enums.get(id.0).unwrap_or(&self.nothing.1)
    }

    fn build() -> Self {
        Self {
            messages: MESSAGES.iter().map(MessageSpec::new).collect(),
            enums: ENUMS.iter().map(EnumSpec::new).collect(),
            nothing: Default::default(),
            graph: GRAPH,
            meta_graph: META_GRAPH,
            saved_model: SAVED_MODEL,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_its_entry() {
        let schema = Schema::get();
        for field in schema.messages.iter().flat_map(|message| message.fields) {
            match field.kind {
                Kind::Message(id) => assert!(id.0 < schema.messages.len(), "{field:?}"),
                Kind::Enum(id) => assert!(id.0 < schema.enums.len(), "{field:?}"),
                _ => {}
            }
        }
        let roots = [schema.graph, schema.meta_graph, schema.saved_model].map(|root| schema.message(root).name);
        assert_eq!(roots, ["GraphDef", "MetaGraphDef", "SavedModel"]);
    }
}
