//! ZooKeeper's wire language in one crate: what travels between a client and a server.
//!
//! A conversation is a sequence of **frames** ([`split_frame`]); a frame holds **records**
//! ([`request`], [`reply`]) written with a handful of **primitives** ([`Encode`], [`Decode`]).
//! [`OpCode`] and [`ErrorCode`] are the two tables of numbers.
//!
//! This crate never touches a socket, a clock or the tree. Decoding copies text and keeps node
//! data as slices of the frame; a hostile length costs nothing, because nothing is reserved before
//! the bytes that would fill it are known to be there.

#![warn(missing_docs)]

mod data;
mod error_code;
mod frame;
mod ids;
mod opcode;
mod primitive;
mod record;
pub mod reply;
pub mod request;

pub use data::{Acl, Id, Perms, Stat};
pub use error_code::{ERROR_CODES, ErrorCode};
pub use frame::{BadLength, begin_frame, end_frame, split_frame};
pub use ids::{SessionId, Version, Xid, Zxid};
pub use nom::Err as ParseFailure;
pub use nom::error::ErrorKind as MalformedKind;
pub use opcode::{OPCODES, OpCode, OpKind};
pub use primitive::{Decode, Encode, Malformed, Parsed, Text, decode_all};
