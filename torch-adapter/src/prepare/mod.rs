//! What is done to a model before anything is planned, and keeps what it computes.

mod fold;
