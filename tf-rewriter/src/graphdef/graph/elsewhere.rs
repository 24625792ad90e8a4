//! Elements of constants that do not stand in the graph's own bytes: they stay where they are, in a checkpoint's data file, until the graph is
//! written.
//!
//! A TensorProto that has such elements carries, in place of `tensor_content`, a field of ours with the number of the piece
//! ([`MARK`]). It is part of the graph in memory alone: whatever writes the graph puts the elements there.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use crate::error::Error;
use crate::graphdef::bundle::Values;
use crate::graphdef::io::Mapped;
use crate::graphdef::tensor::{Elements, MARK};
use crate::graphdef::wire::{put_tag, put_varint};

/// Bytes in a file, or in memory.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    /// In a file.
    File(Mapped, Range<usize>),
    /// In a checkpoint, or as it was given.
    Checkpoint(Values),
}

impl Elements for Piece {
    fn len(&self) -> usize {
        match self {
            Self::File(_, span) => span.len(),
            Self::Checkpoint(values) => values.len(),
        }
    }

    fn bytes(&self) -> Result<&[u8], Error> {
        match self {
            Self::File(file, span) => Ok(file.get(span.clone()).unwrap_or_default()),
            Self::Checkpoint(values) => values.bytes(),
        }
    }
}

/// The pieces of a graph, by their numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Elsewhere(Arc<Vec<Piece>>);

impl Elsewhere {
    pub(crate) fn new(pieces: Vec<Piece>) -> Self {
        Self(Arc::new(pieces))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The piece with this number.
    pub(crate) fn get(&self, number: u64) -> Option<&dyn Elements> {
        usize::try_from(number).ok().and_then(|number| self.0.get(number)).map(|piece| piece as &dyn Elements)
    }

    /// Whether all elements are what was stored, also those that nobody has asked for.
    ///
    /// # Errors
    /// The first one that is not.
    pub(crate) fn verify(&self) -> Result<(), Error> {
        self.0.par_iter().map(|piece| piece.bytes().map(drop)).find_map_first(Result::err).map_or(Ok(()), Err)
    }

    /// Whether all files were the same all the time.
    ///
    /// # Errors
    /// What happened to one of them.
    pub(crate) fn check(&self) -> Result<(), model_file::Changed> {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::File(file, _) => file.check(),
            Piece::Checkpoint(values) => values.in_file().map_or(Ok(()), |(file, _)| file.check()),
        })
    }
}

/// The field that stands for the piece with this number.
pub(crate) fn mark(number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_tag(&mut bytes, MARK, 0);
    put_varint(&mut bytes, number as u64);
    bytes
}
