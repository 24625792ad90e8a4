//! Instructions: the closed set that torch's Pickler writes and its Unpickler takes (PyTorch 1.4 to 2.15).

use crate::error::PickleFault;

/// One instruction with its argument, borrowed from the pickle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Op<'a> {
    Proto(u8),
    Global { module: &'a [u8], name: &'a [u8] },
    Put(u32),
    Get(u32),
    EmptyTuple,
    EmptyList,
    EmptyDict,
    Mark,
    NewObj,
    SetItems,
    Appends,
    Build,
    Reduce,
    PersId,
    Tuple,
    TupleOf(u8),
    List,
    Dict,
    Str(&'a [u8]),
    Int(i64),
    Float(f64),
    Bool(bool),
    None,
    Stop,
}

pub(super) mod code {
    pub(crate) const PROTO: u8 = 0x80;
    pub(crate) const GLOBAL: u8 = b'c';
    pub(crate) const BINPUT: u8 = b'q';
    pub(crate) const LONG_BINPUT: u8 = b'r';
    pub(crate) const BINGET: u8 = b'h';
    pub(crate) const LONG_BINGET: u8 = b'j';
    pub(crate) const EMPTY_TUPLE: u8 = b')';
    pub(crate) const EMPTY_LIST: u8 = b']';
    pub(crate) const EMPTY_DICT: u8 = b'}';
    pub(crate) const MARK: u8 = b'(';
    pub(crate) const NEWOBJ: u8 = 0x81;
    pub(crate) const SETITEMS: u8 = b'u';
    pub(crate) const APPENDS: u8 = b'e';
    pub(crate) const BUILD: u8 = b'b';
    pub(crate) const REDUCE: u8 = b'R';
    pub(crate) const BINPERSID: u8 = b'Q';
    pub(crate) const TUPLE: u8 = b't';
    pub(crate) const TUPLE1: u8 = 0x85;
    pub(crate) const TUPLE3: u8 = 0x87;
    pub(crate) const LIST: u8 = b'l';
    pub(crate) const DICT: u8 = b'd';
    pub(crate) const BINUNICODE: u8 = b'X';
    pub(crate) const BININT1: u8 = b'K';
    pub(crate) const BININT2: u8 = b'M';
    pub(crate) const BININT: u8 = b'J';
    pub(crate) const LONG1: u8 = 0x8a;
    pub(crate) const BINFLOAT: u8 = b'G';
    pub(crate) const NEWTRUE: u8 = 0x88;
    pub(crate) const NEWFALSE: u8 = 0x89;
    pub(crate) const NONE: u8 = b'N';
    pub(crate) const STOP: u8 = b'.';
}

/// A cursor over the instructions of a pickle.
#[derive(Debug, Clone)]
pub(super) struct Ops<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Ops<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// Where the next instruction starts.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The next instruction; the fault's place is where the instruction starts, which is where the cursor then still is.
    pub(super) fn next(&mut self) -> Result<Op<'a>, PickleFault> {
        let mut args = Args { bytes: self.bytes, at: self.at };
        let op = args.op()?;
        self.at = args.at;
        Ok(op)
    }
}

/// The number that the instruction at `at` holds, which was found to be one.
pub(super) fn int_at(bytes: &[u8], at: u32) -> i64 {
    match Ops::new(bytes, at as usize).next() {
        Ok(Op::Int(value)) => value,
        _ => 0,
    }
}

/// The float that the instruction at `at` holds, which was found to be one.
pub(super) fn float_at(bytes: &[u8], at: u32) -> f64 {
    match Ops::new(bytes, at as usize).next() {
        Ok(Op::Float(value)) => value,
        _ => 0.0,
    }
}

struct Args<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Args<'a> {
    fn op(&mut self) -> Result<Op<'a>, PickleFault> {
        let op = self.array::<1>("an instruction")?[0];
        Ok(match op {
            code::PROTO => Op::Proto(self.array::<1>("the protocol")?[0]),
            code::GLOBAL => Op::Global { module: self.line("a module name")?, name: self.line("a class name")? },
            code::BINPUT => Op::Put(self.array::<1>("a memo position")?[0].into()),
            code::LONG_BINPUT => Op::Put(u32::from_le_bytes(self.array("a memo position")?)),
            code::BINGET => Op::Get(self.array::<1>("a memo position")?[0].into()),
            code::LONG_BINGET => Op::Get(u32::from_le_bytes(self.array("a memo position")?)),
            code::EMPTY_TUPLE => Op::EmptyTuple,
            code::EMPTY_LIST => Op::EmptyList,
            code::EMPTY_DICT => Op::EmptyDict,
            code::MARK => Op::Mark,
            code::NEWOBJ => Op::NewObj,
            code::SETITEMS => Op::SetItems,
            code::APPENDS => Op::Appends,
            code::BUILD => Op::Build,
            code::REDUCE => Op::Reduce,
            code::BINPERSID => Op::PersId,
            code::TUPLE => Op::Tuple,
            code::TUPLE1..=code::TUPLE3 => Op::TupleOf(op - code::TUPLE1 + 1),
            code::LIST => Op::List,
            code::DICT => Op::Dict,
            code::BINUNICODE => {
                let len = u32::from_le_bytes(self.array("a string's length")?);
                Op::Str(self.take(u64::from(len), "a string")?)
            }
            code::BININT1 => Op::Int(self.array::<1>("a number")?[0].into()),
            code::BININT2 => Op::Int(u16::from_le_bytes(self.array("a number")?).into()),
            code::BININT => Op::Int(i32::from_le_bytes(self.array("a number")?).into()),
            code::LONG1 => match self.array::<1>("a number's length")?[0] {
                8 => Op::Int(i64::from_le_bytes(self.array("a number")?)),
                len => {
                    let (what, found) = ("length of a long integer", len.to_string().into());
                    return Err(PickleFault::Operand { what, found, expected: "8".into() });
                }
            },
            code::BINFLOAT => Op::Float(f64::from_be_bytes(self.array("a number")?)),
            code::NEWTRUE => Op::Bool(true),
            code::NEWFALSE => Op::Bool(false),
            code::NONE => Op::None,
            code::STOP => Op::Stop,
            op => return Err(PickleFault::Opcode { op }),
        })
    }

    fn take(&mut self, len: u64, what: &'static str) -> Result<&'a [u8], PickleFault> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = usize::try_from(len).ok().and_then(|len| rest.get(..len));
        let taken = taken.ok_or(PickleFault::Truncated { what, found: rest.len() as u64, expected: len })?;
        self.at += taken.len();
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], PickleFault> {
        let bytes = self.take(N as u64, what)?;
        bytes.first_chunk().copied().ok_or(PickleFault::Truncated { what, found: 0, expected: N as u64 })
    }

    /// Up to the next line feed, which is taken too.
    fn line(&mut self, what: &'static str) -> Result<&'a [u8], PickleFault> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let (found, expected) = (rest.len() as u64, rest.len() as u64 + 1);
        let end = rest.iter().position(|byte| *byte == b'\n');
        let end = end.ok_or(PickleFault::Truncated { what, found, expected })?;
        self.at += end + 1;
        Ok(rest.get(..end).unwrap_or_default())
    }
}
