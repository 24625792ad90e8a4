//! The messages of `proto/graph.proto` as plain tables.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use protobuf::descriptor::field_descriptor_proto::{Label, Type};
use protobuf::descriptor::{DescriptorProto, EnumDescriptorProto};

use crate::graphdef::pb;

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
    pub(super) name: String,
    pub(super) number: u32,
    pub(super) kind: Kind,
    pub(super) repeated: bool,
    /// The oneof it belongs to, by position in its message.
    pub(super) oneof: Option<i32>,
}

/// A message type.
#[derive(Debug, Default)]
pub(super) struct MessageSpec {
    pub(super) name: String,
    fields: Vec<FieldSpec>,
    by_name: BTreeMap<String, usize>,
    by_number: BTreeMap<u32, usize>,
}

impl MessageSpec {
    pub(super) fn by_name(&self, name: &str) -> Option<&FieldSpec> {
        self.by_name.get(name).and_then(|at| self.fields.get(*at))
    }

    pub(super) fn by_number(&self, number: u32) -> Option<&FieldSpec> {
        self.by_number.get(&number).and_then(|at| self.fields.get(*at))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|field| field.name.as_str())
    }
}

#[derive(Debug, Default)]
pub(super) struct EnumSpec {
    pub(super) name: String,
    by_name: BTreeMap<String, i32>,
    by_number: BTreeMap<i32, String>,
}

impl EnumSpec {
    pub(super) fn number(&self, name: &str) -> Option<i32> {
        self.by_name.get(name).copied()
    }

    pub(super) fn name_of(&self, number: i32) -> Option<&str> {
        self.by_number.get(&number).map(String::as_str)
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
}

impl Schema {
    /// The types of `proto/graph.proto`.
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
        let file = pb::file_descriptor().proto();
        let mut found = Found::default();
        for message in &file.message_type {
            found.add_message(file.package(), message);
        }
        for enumeration in &file.enum_type {
            found.add_enum(file.package(), enumeration);
        }
        let enums = found.enums.iter().map(|(_, descriptor)| enum_spec(descriptor)).collect();
        let messages = found.messages.iter().map(|(_, descriptor)| found.message_spec(descriptor)).collect();
        let graph = found.message_id(".tensorflow.GraphDef");
        Self { messages, enums, nothing: Default::default(), graph }
    }
}

/// The descriptors by their full names, in the order in which ids are given.
#[derive(Default)]
struct Found<'a> {
    messages: Vec<(String, &'a DescriptorProto)>,
    enums: Vec<(String, &'a EnumDescriptorProto)>,
}

impl<'a> Found<'a> {
    fn add_message(&mut self, scope: &str, message: &'a DescriptorProto) {
        let name = format!("{scope}.{}", message.name());
        for nested in &message.nested_type {
            self.add_message(&name, nested);
        }
        self.messages.push((format!(".{name}"), message));
    }

    fn add_enum(&mut self, scope: &str, enumeration: &'a EnumDescriptorProto) {
        self.enums.push((format!(".{scope}.{}", enumeration.name()), enumeration));
    }

    /// The id of a message; one past the end for a name that is not there.
    fn message_id(&self, name: &str) -> MessageId {
        MessageId(self.messages.iter().position(|(known, _)| known == name).unwrap_or(self.messages.len()))
    }

    fn enum_id(&self, name: &str) -> EnumId {
        EnumId(self.enums.iter().position(|(known, _)| known == name).unwrap_or(self.enums.len()))
    }

    fn message_spec(&self, descriptor: &DescriptorProto) -> MessageSpec {
        let mut spec = MessageSpec { name: descriptor.name().to_owned(), ..MessageSpec::default() };
        for field in &descriptor.field {
            let kind = match field.type_() {
                Type::TYPE_DOUBLE => Kind::Double,
                Type::TYPE_FLOAT => Kind::Float,
                Type::TYPE_INT64 => Kind::Int64,
                Type::TYPE_UINT64 => Kind::Uint64,
                Type::TYPE_INT32 => Kind::Int32,
                Type::TYPE_FIXED64 => Kind::Fixed64,
                Type::TYPE_BOOL => Kind::Bool,
                Type::TYPE_STRING => Kind::String,
                Type::TYPE_BYTES => Kind::Bytes,
                Type::TYPE_UINT32 => Kind::Uint32,
                Type::TYPE_ENUM => Kind::Enum(self.enum_id(field.type_name())),
                Type::TYPE_MESSAGE => Kind::Message(self.message_id(field.type_name())),
                // Not used by the format. A test holds that every field of the schema is here.
                Type::TYPE_FIXED32
                | Type::TYPE_SFIXED32
                | Type::TYPE_SFIXED64
                | Type::TYPE_SINT32
                | Type::TYPE_SINT64
                | Type::TYPE_GROUP => continue,
            };
            let Ok(number) = u32::try_from(field.number()) else { continue };
            let at = spec.fields.len();
            spec.by_name.insert(field.name().to_owned(), at);
            spec.by_number.insert(number, at);
            spec.fields.push(FieldSpec {
                name: field.name().to_owned(),
                number,
                kind,
                repeated: field.label() == Label::LABEL_REPEATED,
                oneof: field.oneof_index,
            });
        }
        spec
    }
}

fn enum_spec(descriptor: &EnumDescriptorProto) -> EnumSpec {
    let values = || descriptor.value.iter().map(|value| (value.name().to_owned(), value.number()));
    EnumSpec {
        name: descriptor.name().to_owned(),
        by_name: values().collect(),
        by_number: values().map(|(name, number)| (number, name)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_the_descriptor_has_its_entry() {
        fn fields(message: &DescriptorProto) -> usize {
            message.field.len() + message.nested_type.iter().map(fields).sum::<usize>()
        }
        let schema = Schema::get();
        let described: usize = pb::file_descriptor().proto().message_type.iter().map(fields).sum();
        let known: usize = schema.messages.iter().map(|message| message.fields.len()).sum();
        assert_eq!(known, described);
        for field in schema.messages.iter().flat_map(|message| &message.fields) {
            match field.kind {
                Kind::Message(id) => assert!(id.0 < schema.messages.len(), "{field:?}"),
                Kind::Enum(id) => assert!(id.0 < schema.enums.len(), "{field:?}"),
                _ => {}
            }
        }
        assert_eq!(schema.message(schema.graph).name, "GraphDef");
    }
}
