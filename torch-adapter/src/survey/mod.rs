//! Looking at models: what is in one, what differs between two.

mod diff;
mod inspect;
mod values;
