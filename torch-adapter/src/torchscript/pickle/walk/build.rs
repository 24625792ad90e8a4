//! What functions of a pickle would make: storages, tensors, tagged lists.

use super::super::global::Global;
use super::super::op::int_at;
use super::super::value::{Item, Items, Opaque, RawStorage, RawTensor, Slot};
use super::{Walker, operand, position};
use crate::error::PickleFault;

/// The arguments of `_rebuild_tensor_v2`; a seventh, if there, holds bits that torch sets for views of complex tensors.
const TENSOR_ARGS: std::ops::RangeInclusive<usize> = 6..=7;

impl Walker<'_> {
    /// BINPERSID: `("storage", class, key, device, number of elements)`; torch 1.3 and 1.4 add `None`, where Python has the facts of a view.
    pub(super) fn storage(&mut self, end: u32) -> Result<(), PickleFault> {
        const WHAT: &str = "storage reference";
        let parts = self.pop()?;
        let Item::Tuple(first, len) = parts.item else { return Err(operand(WHAT, parts.item.kind(), "a tuple")) };
        let items = self.out.pooled(first, len);
        let ([tag, kind, key, device, numel] | [tag, kind, key, device, numel, Slot { item: Item::None, .. }]) = items
        else {
            let view = matches!(items, [_, _, _, _, _, part] if part.item != Item::None);
            let found = if view { "a view in the sixth part".into() } else { format!("{len} parts").into() };
            return Err(PickleFault::Operand {
                what: WHAT,
                found,
                expected: "5 parts, or 6 of which the last is None".into(),
            });
        };
        if self.text(tag) != Some(b"storage") {
            return Err(operand(WHAT, tag.item.kind(), "the text `storage`"));
        }
        let Item::Global(Global::Storage(kind), _) = kind.item else {
            return Err(operand(WHAT, kind.item.kind(), "a storage class"));
        };
        let key = self.text(key).ok_or_else(|| operand(WHAT, key.item.kind(), "a record key"))?;
        let key = str::from_utf8(key).map_err(|_| PickleFault::Utf8 { what: "a record key" })?.to_owned();
        let Item::Str(at, bytes) = device.item else {
            return Err(operand(WHAT, device.item.kind(), "a device name"));
        };
        let device = at as usize..(at as usize).saturating_add(bytes as usize);
        let numel = self.int(WHAT, numel)?;
        self.count::<RawStorage>(1 + key.len() / size_of::<RawStorage>())?;
        let id = position(self.out.storages.len());
        self.out.storages.push(RawStorage { kind, key, device, numel, span: parts.start as usize..end as usize });
        self.push(Slot { start: parts.start, end, depth: parts.depth, item: Item::Storage(id) })
    }

    pub(super) fn reduce(&mut self, end: u32) -> Result<(), PickleFault> {
        let args = self.pop()?;
        let call = self.pop()?;
        let Item::Global(global, _) = call.item else {
            return Err(operand("REDUCE", call.item.kind(), "a function or class"));
        };
        let start = call.start;
        if global == Global::Class {
            // An Enum's member: the class, called with the bare value.
            return self.push(Slot { start, end, depth: args.depth + 1, item: Item::Opaque(Opaque::Enum) });
        }
        let Item::Tuple(first, len) = args.item else {
            return Err(operand("REDUCE", args.item.kind(), "a tuple of arguments"));
        };
        let args_depth = args.depth;
        let (depth, item) = match (global, self.out.pooled(first, len)) {
            (Global::Tensor, args) if TENSOR_ARGS.contains(&args.len()) => {
                let tensor = self.tensor(args, start as usize..end as usize)?;
                let id = position(self.out.tensors.len());
                self.out.tensors.push(tensor);
                (args_depth, Item::Tensor(id))
            }
            (Global::Tensor, args) => {
                let (found, expected) = (format!("{} arguments", args.len()).into(), "6 or 7 arguments".into());
                return Err(PickleFault::Operand { what: "_rebuild_tensor_v2", found, expected });
            }
            (Global::TypeTag, [value, tag]) if matches!(tag.item, Item::Str(..)) => (value.depth, value.item),
            (Global::TypeTag, _) => {
                return Err(operand("restore_type_tag", "other arguments", "a value and the name of its type"));
            }
            (Global::BuildList, [list]) if matches!(list.item, Item::List(_)) => (list.depth, list.item),
            (Global::BuildList, _) => return Err(operand("a list builder", "other arguments", "one list")),
            (Global::OrderedDict, []) => return self.new_dict(start, end, Items::default()),
            (Global::OrderedDict, _) => return Err(operand("OrderedDict", "arguments", "none")),
            (Global::OtherTensor, _) => (args_depth + 1, Item::Opaque(Opaque::Tensor)),
            (Global::Scalar, _) => (args_depth + 1, Item::Opaque(Opaque::Scalar)),
            (Global::Storage(_) | Global::Class, _) => {
                return Err(operand("REDUCE", "a storage class", "a function"));
            }
        };
        self.push(Slot { start, end, depth, item })
    }

    fn tensor(&self, args: &[Slot], span: std::ops::Range<usize>) -> Result<RawTensor, PickleFault> {
        const WHAT: &str = "_rebuild_tensor_v2";
        let [storage, offset, sizes, strides, requires_grad, hooks, ..] = args else {
            return Err(operand(WHAT, "fewer arguments", "6 or 7 arguments"));
        };
        let Item::Storage(storage) = storage.item else {
            return Err(operand(WHAT, storage.item.kind(), "a storage"));
        };
        let Item::Bool(requires_grad) = requires_grad.item else {
            return Err(operand(WHAT, requires_grad.item.kind(), "a bool (requires_grad)"));
        };
        if !matches!(hooks.item, Item::Dict(_)) {
            return Err(operand(WHAT, hooks.item.kind(), "an OrderedDict (hooks)"));
        }
        let dims = |slot: &Slot| if let Item::Tuple(_, len) = slot.item { len as usize } else { 0 };
        let ints = |slot: &Slot| match slot.item {
            Item::Tuple(first, len) => self.out.pooled(first, len).iter().map(|slot| self.int(WHAT, slot)).collect(),
            _ => Err(operand(WHAT, slot.item.kind(), "a tuple of integers")),
        };
        self.count::<RawTensor>(1)?;
        self.count::<i64>(dims(sizes) + dims(strides))?;
        let (sizes, strides): (Vec<i64>, Vec<i64>) = (ints(sizes)?, ints(strides)?);
        if sizes.len() != strides.len() {
            let (found, expected) = (format!("{} strides", strides.len()).into(), format!("{}", sizes.len()).into());
            return Err(PickleFault::Operand { what: WHAT, found, expected });
        }
        let offset = self.int(WHAT, offset)?;
        Ok(RawTensor { storage: storage as usize, offset, sizes, strides, requires_grad, span })
    }

    fn text(&self, slot: &Slot) -> Option<&[u8]> {
        let Item::Str(start, len) = slot.item else { return None };
        self.bytes.get(start as usize..)?.get(..len as usize)
    }

    fn int(&self, what: &'static str, slot: &Slot) -> Result<i64, PickleFault> {
        match slot.item {
            Item::Int(at) => Ok(int_at(self.bytes, at)),
            other => Err(operand(what, other.kind(), "an integer")),
        }
    }
}
