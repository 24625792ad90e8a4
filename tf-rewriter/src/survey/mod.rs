//! Surveys: what is in a graph, and what differs between two.

mod diff;
mod fold;
mod folded;
mod inspect;
mod outputs;
mod separated;
mod weights;
