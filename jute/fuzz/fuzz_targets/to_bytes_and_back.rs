//! Records of any content: they come back from their bytes, and from no shorter bytes.
#![no_main]

use bytes::{Bytes, BytesMut};
use jute::reply::{ClientInfo, GetAclReply, GetChildren2Reply, GetDataReply, WatcherEvent};
use jute::request::{
    Auth, Check, Create, CreateTtl, Delete, Multi, MultiOp, PathOnly, PathWatch, Reconfig, SetAcl,
    SetData, SetWatches2, WatchesOf,
};
use jute::{
    Acl, Decode, Encode, Id, OpCode, Perms, SessionId, Stat, Text, Version, Zxid, decode_all,
};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // Too few bytes for the record that was to be made: the next input.
    let _ = records(&mut Unstructured::new(bytes));
});

/// Makes one record and sends it there and back.
fn records(source: &mut Unstructured<'_>) -> Result<()> {
    match source.int_in_range(0..=13)? {
        0 => survives(&Create::made(source)?, source),
        1 => survives(&CreateTtl::made(source)?, source),
        2 => survives(&Delete::made(source)?, source),
        3 => survives(&SetData::made(source)?, source),
        4 => survives(&SetAcl::made(source)?, source),
        5 => survives(&PathWatch::made(source)?, source),
        6 => survives(&PathOnly::made(source)?, source),
        7 => survives(&WatchesOf::made(source)?, source),
        8 => survives(&SetWatches2::made(source)?, source),
        9 => survives(&Reconfig::made(source)?, source),
        10 => survives(&Auth::made(source)?, source),
        11 => {
            survives(&Multi::Ops(Option::<Vec<MultiOp>>::made(source)?.unwrap_or_default()), source)
        }
        12 => survives(&GetDataReply::made(source)?, source),
        _ => {
            survives(&WatcherEvent::made(source)?, source)?;
            survives(&ClientInfo::made(source)?, source)?;
            survives(&GetAclReply::made(source)?, source)?;
            survives(&GetChildren2Reply::made(source)?, source)
        }
    }
}

/// Asserts that a value comes back from its bytes, and from no proper prefix of them.
fn survives<T: Decode + Encode + PartialEq + std::fmt::Debug>(
    value: &T,
    source: &mut Unstructured<'_>,
) -> Result<()> {
    let mut out = BytesMut::new();
    value.encode(&mut out);
    let bytes = out.freeze();
    assert_eq!(decode_all::<T>(&bytes).as_ref(), Ok(value));
    let cut = source.choose_index(bytes.len().max(1))?;
    assert!(cut == bytes.len() || decode_all::<T>(&bytes.slice(..cut)).is_err(), "cut at {cut}");
    Ok(())
}

/// A value made of the fuzzer's bytes.
trait Made: Sized {
    fn made(source: &mut Unstructured<'_>) -> Result<Self>;
}

macro_rules! plain {
    ($($type:ty),*) => {$(
        impl Made for $type {
            fn made(source: &mut Unstructured<'_>) -> Result<Self> {
                source.arbitrary()
            }
        }
    )*};
}

macro_rules! wrapped {
    ($($type:ident),*) => {$(
        impl Made for $type {
            fn made(source: &mut Unstructured<'_>) -> Result<Self> {
                Ok($type(source.arbitrary()?))
            }
        }
    )*};
}

macro_rules! record {
    ($($type:ident { $($field:ident),* })*) => {$(
        impl Made for $type {
            fn made(source: &mut Unstructured<'_>) -> Result<Self> {
                Ok($type { $($field: Made::made(source)?,)* })
            }
        }
    )*};
}

plain!(bool, i32, i64, Text);
wrapped!(Perms, SessionId, Version, Zxid);
record! {
    Id { scheme, id }
    Acl { perms, id }
    Stat {
        czxid, mzxid, ctime_ms, mtime_ms, version, cversion, aversion, ephemeral_owner, data_length,
        num_children, pzxid
    }
    Create { path, data, acl, flags }
    CreateTtl { path, data, acl, flags, ttl_ms }
    Delete { path, version }
    SetData { path, data, version }
    SetAcl { path, acl, version }
    Check { path, version }
    PathWatch { path, watch }
    PathOnly { path }
    WatchesOf { path, kind }
    SetWatches2 {
        relative_zxid, data_watches, exist_watches, child_watches, persistent_watches,
        persistent_recursive_watches
    }
    Reconfig { joining_servers, leaving_servers, new_members, current_config_id }
    Auth { kind, scheme, auth }
    WatcherEvent { kind, state, path }
    ClientInfo { auth_scheme, user }
    GetDataReply { data, stat }
    GetAclReply { acl, stat }
    GetChildren2Reply { children, stat }
}

impl Made for Option<Bytes> {
    fn made(source: &mut Unstructured<'_>) -> Result<Self> {
        Ok(source.arbitrary::<Option<Vec<u8>>>()?.map(Bytes::from))
    }
}

impl<T: Made> Made for Option<Vec<T>> {
    fn made(source: &mut Unstructured<'_>) -> Result<Self> {
        if source.arbitrary()? {
            return Ok(None);
        }
        let length = source.int_in_range(0..=8)?;
        (0..length).map(|_| T::made(source)).collect::<Result<_>>().map(Some)
    }
}

impl Made for MultiOp {
    fn made(source: &mut Unstructured<'_>) -> Result<Self> {
        Ok(match source.int_in_range(0..=7)? {
            0 => MultiOp::Create(OpCode::Create, Made::made(source)?),
            1 => MultiOp::Create(OpCode::CreateContainer, Made::made(source)?),
            2 => MultiOp::CreateTtl(Made::made(source)?),
            3 => MultiOp::Delete(Made::made(source)?),
            4 => MultiOp::SetData(Made::made(source)?),
            5 => MultiOp::Check(Made::made(source)?),
            6 => MultiOp::GetData(Made::made(source)?),
            _ => MultiOp::GetChildren(Made::made(source)?),
        })
    }
}
