//! Golden bytes of requests, and round trips of every record a client can send.

use proptest::prelude::*;

use super::*;
use crate::Perms;

/// Bytes written as hexadecimal digits and blanks.
fn hex(text: &str) -> Bytes {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn encoded(value: &impl Encode) -> Bytes {
    let mut out = BytesMut::new();
    value.encode(&mut out);
    out.freeze()
}

#[test]
fn a_connect_request_has_45_bytes_with_the_flag_and_44_without() {
    let with_flag = hex("00000000 0000000000000000 00002710 0000000000000000
         00000010 00000000000000000000000000000000 00");
    let request: ConnectRequest = decode_all(&with_flag).unwrap();
    assert_eq!(request.timeout_ms, 10_000);
    assert_eq!((request.read_only, with_flag.len()), (Some(false), 45));
    assert_eq!(encoded(&request), with_flag);

    let without: ConnectRequest = decode_all(&with_flag.slice(..44)).unwrap();
    assert_eq!(without.read_only, None);
    assert!(decode_all::<ConnectRequest>(&with_flag.slice(..43)).is_err());
}

#[test]
fn a_create_request_is_read_field_by_field() {
    let body = hex("00000002 2f61 00000001 78 00000001 0000001f 00000005 776f726c64
         00000006 616e796f6e65 00000000");
    let create: Create = decode_all(&body).unwrap();
    assert_eq!(create.path.as_deref(), Some("/a"));
    assert_eq!(create.data.as_deref(), Some(&b"x"[..]));
    assert_eq!(create.acl, Some(vec![Acl::anyone(Perms::ALL)]));
    assert_eq!(encoded(&create), body);
}

#[test]
fn bytes_after_a_record_are_ignored_and_a_missing_flag_is_malformed() {
    let body = hex("00000001 2f 00 ffff");
    assert!(Request::decode(OpCode::GetData, &body).is_ok());
    assert!(Request::decode(OpCode::GetData, &body.slice(..5)).is_err());
}

#[test]
fn a_multi_ends_with_its_end_header_and_stops_at_an_unknown_operation() {
    let empty: Multi = decode_all(&hex("ffffffff 01 ffffffff")).unwrap();
    assert_eq!(empty, Multi::Ops(vec![]));
    assert_eq!(encoded(&empty), hex("ffffffff 01 ffffffff"));

    let set_acl: Multi = decode_all(&hex("00000007 00 ffffffff 00000001")).unwrap();
    assert_eq!(set_acl, Multi::UnknownOp(7));
    assert!(decode_all::<Multi>(&hex("00000002 00 ffffffff 00000001 2f")).is_err());
}

fn text() -> impl Strategy<Value = Text> {
    proptest::option::of("[ -~é\u{200b}]{0,12}")
}

fn data() -> impl Strategy<Value = Option<Bytes>> {
    proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from))
}

fn acls() -> impl Strategy<Value = Option<Vec<Acl>>> {
    let acl = (any::<i32>(), text(), text())
        .prop_map(|(perms, scheme, id)| Acl { perms: Perms(perms), id: crate::Id { scheme, id } });
    proptest::option::of(proptest::collection::vec(acl, 0..4))
}

fn texts() -> impl Strategy<Value = Option<Vec<Text>>> {
    proptest::option::of(proptest::collection::vec(text(), 0..4))
}

/// Asserts that a value comes back from its bytes, and from no proper prefix of them.
fn survives<T: Encode + Decode + PartialEq + std::fmt::Debug>(value: &T) {
    let bytes = encoded(value);
    assert_eq!(&decode_all::<T>(&bytes).unwrap(), value);
    for cut in 0..bytes.len() {
        assert!(decode_all::<T>(&bytes.slice(..cut)).is_err(), "cut at {cut}");
    }
}

proptest! {
    #[test]
    fn creates_survive(path in text(), data in data(), acl in acls(), flags: i32, ttl_ms: i64) {
        survives(&CreateTtl { path: path.clone(), data: data.clone(), acl: acl.clone(), flags, ttl_ms });
        survives(&Create { path, data, acl, flags });
    }

    #[test]
    fn changes_survive(path in text(), data in data(), acl in acls(), version: i32) {
        let version = Version(version);
        survives(&SetData { path: path.clone(), data: data.clone(), version });
        survives(&SetAcl { path: path.clone(), acl, version });
        let ops = vec![
            MultiOp::SetData(SetData { path: path.clone(), data, version }),
            MultiOp::Check(Check { path: path.clone(), version }),
            MultiOp::Delete(Delete { path, version }),
        ];
        survives(&Multi::Ops(ops));
    }

    #[test]
    fn watch_lists_survive(zxid: i64, data in texts(), exist in texts(), child in texts()) {
        let set = SetWatches {
            relative_zxid: Zxid(zxid),
            data_watches: data,
            exist_watches: exist,
            child_watches: child,
        };
        survives(&set);
        survives(&SetWatches2::from(set));
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(op in -12..110_i32, body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let body = Bytes::from(body);
        if let Some(op) = OpCode::from_number(op) {
            let _ = Request::decode(op, &body);
        }
        let _ = decode_all::<ConnectRequest>(&body);
    }
}
