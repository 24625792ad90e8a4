//! The machine: runs the instructions of a pickle as data. Nothing is imported, called or built.

use super::fault::PickleFault;
use super::global::Global;
use super::op::{Op, Ops};
use super::value::{Container, Instance, Item, RawStorage, RawTensor, Slot};
use super::{Memo, Pickle};
use crate::error::Error;
use crate::limits::Limits;

/// The arguments of `_rebuild_tensor_v2`; a seventh, if there, holds bits that torch sets for views of complex tensors.
const TENSOR_ARGS: std::ops::RangeInclusive<usize> = 6..=7;
const STORAGE_PARTS: usize = 5;

pub(super) fn walk(record: &str, bytes: Vec<u8>, limits: &Limits) -> Result<Pickle, Error> {
    let (out, root) = run(record, &bytes, limits)?;
    Ok(Pickle { bytes, root, ..out })
}

fn run(record: &str, bytes: &[u8], limits: &Limits) -> Result<(Pickle, Slot), Error> {
    if u32::try_from(bytes.len()).is_err() {
        return Err(PickleFault::Length { found: bytes.len() as u64 }.at(record, 0));
    }
    let mut walker = Walker {
        limits,
        bytes,
        out: Pickle::empty(record),
        stack: Vec::new(),
        marks: Vec::new(),
        ops: 0,
        most_memos: bytes.len() / 2,
    };
    let mut ops = Ops::new(bytes, 0);
    let root = loop {
        let at = ops.at();
        let step = ops.next().and_then(|op| walker.step(op, position(at), position(ops.at())));
        if step.map_err(|fault| fault.at(record, at))? {
            break walker.root().map_err(|fault| fault.at(record, at))?;
        }
    };
    let left = bytes.len() - ops.at();
    if left != 0 {
        return Err(PickleFault::Trailing { found: left as u64 }.at(record, ops.at()));
    }
    Ok((walker.out, root))
}

/// A position in a pickle; its length was checked.
fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

struct Mark {
    /// Values on the stack below it.
    height: usize,
    at: u32,
}

struct Walker<'l> {
    limits: &'l Limits,
    bytes: &'l [u8],
    out: Pickle,
    stack: Vec<Slot>,
    marks: Vec<Mark>,
    ops: usize,
    /// The highest memo position there can be.
    most_memos: usize,
}

impl Walker<'_> {
    /// One instruction at `start..end`; true for the last one.
    fn step(&mut self, op: Op<'_>, start: u32, end: u32) -> Result<bool, PickleFault> {
        self.ops += 1;
        if self.ops > self.limits.pickle_ops {
            return Err(PickleFault::Ops { limit: self.limits.pickle_ops });
        }
        if (self.ops == 1) != (op == Op::Proto(2)) {
            let found = if self.ops == 1 { format!("{op:?}") } else { "a second protocol".to_owned() };
            if self.ops == 1 || matches!(op, Op::Proto(_)) {
                return Err(PickleFault::Protocol { found });
            }
        }
        let plain = |item| Slot { start, end, depth: 0, item };
        match op {
            Op::Proto(_) => {}
            Op::None => self.push(plain(Item::None))?,
            Op::Bool(value) => self.push(plain(Item::Bool(value)))?,
            Op::Int(value) => self.push(plain(Item::Int(value)))?,
            Op::Float(value) => self.push(plain(Item::Float(value)))?,
            Op::Str(text) => {
                let len = position(text.len());
                self.push(plain(Item::Str(end - len, len)))?;
            }
            Op::EmptyTuple => self.push(plain(Item::Tuple(0, 0)))?,
            Op::EmptyList => self.new_list(start, end, &[])?,
            Op::EmptyDict => self.new_dict(start, end, &[])?,
            Op::Mark => self.marks.push(Mark { height: self.stack.len(), at: start }),
            Op::Put(memo) => self.put(memo)?,
            Op::Get(memo) => self.get(memo, start, end)?,
            Op::Global { module, name } => self.global(module, name, start, end)?,
            Op::TupleOf(len) => {
                let items = self.pop_many(len.into())?;
                let first = items.first().map_or(start, |slot| slot.start);
                self.tuple(&items, first, end)?;
            }
            Op::Tuple => {
                let (at, items) = self.pop_mark()?;
                self.tuple(&items, at, end)?;
            }
            Op::List => {
                let (at, items) = self.pop_mark()?;
                self.new_list(at, end, &items)?;
            }
            Op::Dict => {
                let (at, items) = self.pop_mark()?;
                self.new_dict(at, end, &items)?;
            }
            Op::Appends => self.appends(start, end)?,
            Op::SetItems => self.set_items(start, end)?,
            Op::NewObj => self.new_object(end)?,
            Op::Build => self.build(end)?,
            Op::PersId => self.storage(end)?,
            Op::Reduce => self.reduce(end)?,
            Op::Stop => return Ok(true),
        }
        Ok(false)
    }

    fn root(&mut self) -> Result<Slot, PickleFault> {
        let root = self.pop()?;
        let found = self.stack.len() + self.marks.len() + 1;
        if found != 1 {
            return Err(PickleFault::Leftover { found });
        }
        if self.out.objects.iter().any(|object| object.state.is_none()) {
            return Err(operand("the end of the pickle", "an object without a state", "BUILD after every NEWOBJ"));
        }
        Ok(root)
    }

    fn push(&mut self, slot: Slot) -> Result<(), PickleFault> {
        if slot.depth as usize > self.limits.depth {
            return Err(PickleFault::Depth { limit: self.limits.depth });
        }
        self.stack.push(slot);
        Ok(())
    }

    /// The top value, which must lie above the last mark.
    fn pop(&mut self) -> Result<Slot, PickleFault> {
        let floor = self.marks.last().map_or(0, |mark| mark.height);
        let underflow = || operand("the stack", "no value", "one more value");
        if self.stack.len() <= floor { Err(underflow()) } else { self.stack.pop().ok_or_else(underflow) }
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Slot>, PickleFault> {
        let mut items = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
        items.reverse();
        Ok(items)
    }

    fn pop_mark(&mut self) -> Result<(u32, Vec<Slot>), PickleFault> {
        let mark = self.marks.pop().ok_or_else(|| operand("the stack", "no mark", "a mark"))?;
        Ok((mark.at, self.stack.split_off(mark.height)))
    }

    fn put(&mut self, memo: u32) -> Result<(), PickleFault> {
        let wrong = |why| Err(PickleFault::Memo { found: memo.into(), why });
        let position = memo as usize;
        // Setting one takes two bytes, so no pickle has more of them; torch counts up, our own additions continue its count.
        if position > self.most_memos {
            return wrong("is beyond what a pickle of this length can have");
        }
        let slot = self.pop()?;
        self.stack.push(slot);
        if self.out.memo.len() <= position {
            self.out.memo.resize(position + 1, None);
        }
        match self.out.memo.get_mut(position) {
            Some(free @ None) => *free = Some(Memo { slot }),
            _ => return wrong("is set twice"),
        }
        Ok(())
    }

    fn get(&mut self, memo: u32, start: u32, end: u32) -> Result<(), PickleFault> {
        let found = self.out.memo.get(memo as usize).copied().flatten();
        let unset = PickleFault::Memo { found: memo.into(), why: "is read before it is set" };
        let Memo { slot } = found.ok_or(unset)?;
        let mut depth = slot.depth;
        match slot.item {
            Item::List(id) => depth = depth.max(share(&mut self.out.lists, id)),
            Item::Dict(id) => depth = depth.max(share(&mut self.out.dicts, id)),
            Item::Object(id) => {
                if let Some(object) = self.out.objects.get_mut(id as usize) {
                    object.shared = true;
                    depth = depth.max(object.state.map_or(0, |state| state.depth + 1));
                }
            }
            _ => {}
        }
        self.push(Slot { start, end, depth, item: slot.item })
    }

    fn global(&mut self, module: &[u8], name: &[u8], start: u32, end: u32) -> Result<(), PickleFault> {
        let global = Global::named(module, name)?;
        let mut class = 0;
        if global == Global::Class {
            class = position(self.out.classes.len());
            let text = |bytes| str::from_utf8(bytes).map_err(|_| PickleFault::Utf8 { what: "a class name" });
            self.out.classes.push(format!("{}.{}", text(module)?, text(name)?));
        }
        self.push(Slot { start, end, depth: 0, item: Item::Global(global, class) })
    }

    /// Items go to the pool; their position there.
    fn pool(&mut self, items: &[Slot]) -> (u32, u32, u32) {
        let first = position(self.out.pool.len());
        self.out.pool.extend_from_slice(items);
        (first, position(items.len()), nest(items))
    }

    fn tuple(&mut self, items: &[Slot], start: u32, end: u32) -> Result<(), PickleFault> {
        let (first, len, depth) = self.pool(items);
        self.push(Slot { start, end, depth, item: Item::Tuple(first, len) })
    }

    fn new_list(&mut self, start: u32, end: u32, items: &[Slot]) -> Result<(), PickleFault> {
        let (first, len, depth) = self.pool(items);
        let id = position(self.out.lists.len());
        self.out.lists.push(Container { first, len, start, end, depth, fill: None, shared: false });
        self.push(Slot { start, end, depth, item: Item::List(id) })
    }

    fn new_dict(&mut self, start: u32, end: u32, items: &[Slot]) -> Result<(), PickleFault> {
        even(items)?;
        let (first, len, depth) = self.pool(items);
        let id = position(self.out.dicts.len());
        self.out.dicts.push(Container { first, len, start, end, depth, fill: None, shared: false });
        self.push(Slot { start, end, depth, item: Item::Dict(id) })
    }

    fn appends(&mut self, start: u32, end: u32) -> Result<(), PickleFault> {
        let (_, items) = self.pop_mark()?;
        let list = self.pop()?;
        let Item::List(id) = list.item else { return Err(operand("APPENDS", list.item.kind(), "a list")) };
        let (first, len, depth) = self.pool(&items);
        fill(&mut self.out.lists, id, (first, len, depth), (start, end))?;
        self.push(Slot { end, depth, ..list })
    }

    fn set_items(&mut self, start: u32, end: u32) -> Result<(), PickleFault> {
        let (_, items) = self.pop_mark()?;
        even(&items)?;
        let dict = self.pop()?;
        let Item::Dict(id) = dict.item else { return Err(operand("SETITEMS", dict.item.kind(), "a dictionary")) };
        let (first, len, depth) = self.pool(&items);
        fill(&mut self.out.dicts, id, (first, len, depth), (start, end))?;
        self.push(Slot { end, depth, ..dict })
    }

    fn new_object(&mut self, end: u32) -> Result<(), PickleFault> {
        let args = self.pop()?;
        if !matches!(args.item, Item::Tuple(_, 0)) {
            return Err(operand("NEWOBJ", args.item.kind(), "an empty tuple"));
        }
        let class = self.pop()?;
        let Item::Global(Global::Class, name) = class.item else {
            return Err(operand("NEWOBJ", class.item.kind(), "a class of the archive"));
        };
        let id = position(self.out.objects.len());
        let start = class.start;
        self.out.objects.push(Instance { class: name, state: None, start, end, shared: false });
        self.push(Slot { start, end, depth: 0, item: Item::Object(id) })
    }

    fn build(&mut self, end: u32) -> Result<(), PickleFault> {
        let state = self.pop()?;
        let object = self.pop()?;
        let Item::Object(id) = object.item else { return Err(operand("BUILD", object.item.kind(), "an object")) };
        let Some(instance) = self.out.objects.get_mut(id as usize) else { return Ok(()) };
        if instance.shared {
            return Err(PickleFault::Shared { what: "an object" });
        }
        if instance.state.is_some() {
            return Err(operand("BUILD", "an object with a state", "an object without one"));
        }
        instance.state = Some(state);
        instance.end = end;
        self.push(Slot { end, depth: state.depth + 1, ..object })
    }

    /// BINPERSID: `("storage", class, key, device, number of elements)`.
    fn storage(&mut self, end: u32) -> Result<(), PickleFault> {
        const WHAT: &str = "storage reference";
        let parts = self.pop()?;
        let Item::Tuple(first, len) = parts.item else { return Err(operand(WHAT, parts.item.kind(), "a tuple")) };
        let items = self.out.pooled(first, len);
        let [tag, kind, key, device, numel] = items else {
            let (found, expected) = (format!("{len} parts").into(), format!("{STORAGE_PARTS} parts").into());
            return Err(PickleFault::Operand { what: WHAT, found, expected });
        };
        if self.text(tag) != Some(b"storage") {
            return Err(operand(WHAT, tag.item.kind(), "the text `storage`"));
        }
        let Item::Global(Global::Storage(kind), _) = kind.item else {
            return Err(operand(WHAT, kind.item.kind(), "a storage class"));
        };
        let key = self.text(key).ok_or_else(|| operand(WHAT, key.item.kind(), "a record key"))?;
        let key = str::from_utf8(key).map_err(|_| PickleFault::Utf8 { what: "a record key" })?.to_owned();
        if !matches!(device.item, Item::Str(..)) {
            return Err(operand(WHAT, device.item.kind(), "a device name"));
        }
        let numel = int(WHAT, numel)?;
        let id = position(self.out.storages.len());
        self.out.storages.push(RawStorage { kind, key, numel, span: parts.start as usize..end as usize });
        self.push(Slot { start: parts.start, end, depth: parts.depth, item: Item::Storage(id) })
    }

    fn reduce(&mut self, end: u32) -> Result<(), PickleFault> {
        let args = self.pop()?;
        let call = self.pop()?;
        let Item::Global(global, _) = call.item else {
            return Err(operand("REDUCE", call.item.kind(), "a function or class"));
        };
        let Item::Tuple(first, len) = args.item else {
            return Err(operand("REDUCE", args.item.kind(), "a tuple of arguments"));
        };
        let start = call.start;
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
            (Global::OrderedDict, []) => return self.new_dict(start, end, &[]),
            (Global::OrderedDict, _) => return Err(operand("OrderedDict", "arguments", "none")),
            (Global::OtherTensor, _) => (args_depth + 1, Item::Opaque("a tensor of another kind")),
            (Global::Scalar, _) => (args_depth + 1, Item::Opaque("a device or number")),
            (Global::Class, _) => (args_depth + 1, Item::Opaque("an enum value")),
            (Global::Storage(_), _) => return Err(operand("REDUCE", "a storage class", "a function")),
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
        let ints = |slot: &Slot| match slot.item {
            Item::Tuple(first, len) => self.out.pooled(first, len).iter().map(|slot| int(WHAT, slot)).collect(),
            _ => Err(operand(WHAT, slot.item.kind(), "a tuple of integers")),
        };
        let (sizes, strides): (Vec<i64>, Vec<i64>) = (ints(sizes)?, ints(strides)?);
        if sizes.len() != strides.len() {
            let (found, expected) = (format!("{} strides", strides.len()).into(), format!("{}", sizes.len()).into());
            return Err(PickleFault::Operand { what: WHAT, found, expected });
        }
        let offset = int(WHAT, offset)?;
        Ok(RawTensor { storage: storage as usize, offset, sizes, strides, requires_grad, span })
    }

    fn text(&self, slot: &Slot) -> Option<&[u8]> {
        let Item::Str(start, len) = slot.item else { return None };
        self.bytes.get(start as usize..)?.get(..len as usize)
    }
}

fn operand(what: &'static str, found: &'static str, expected: &'static str) -> PickleFault {
    PickleFault::Operand { what, found: found.into(), expected: expected.into() }
}

fn int(what: &'static str, slot: &Slot) -> Result<i64, PickleFault> {
    match slot.item {
        Item::Int(value) => Ok(value),
        other => Err(operand(what, other.kind(), "an integer")),
    }
}

/// Depth of a value that holds `items`.
fn nest(items: &[Slot]) -> u32 {
    items.iter().map(|slot| slot.depth + 1).max().unwrap_or(0)
}

fn even(items: &[Slot]) -> Result<(), PickleFault> {
    if items.len().is_multiple_of(2) { Ok(()) } else { Err(operand("a dictionary", "a key without a value", "pairs")) }
}

/// From now on the container may not change; its depth.
fn share(containers: &mut [Container], id: u32) -> u32 {
    containers.get_mut(id as usize).map_or(0, |container| {
        container.shared = true;
        container.depth
    })
}

/// Give a container its items: once, and before it is shared.
fn fill(
    containers: &mut [Container],
    id: u32,
    (first, len, depth): (u32, u32, u32),
    (start, end): (u32, u32),
) -> Result<(), PickleFault> {
    let Some(container) = containers.get_mut(id as usize) else { return Ok(()) };
    if container.shared {
        return Err(PickleFault::Shared { what: "a list or dictionary" });
    }
    if container.fill.is_some() || container.len != 0 {
        return Err(operand("APPENDS or SETITEMS", "a container with items", "an empty one"));
    }
    *container = Container { first, len, end, depth, fill: Some(start), ..*container };
    Ok(())
}
