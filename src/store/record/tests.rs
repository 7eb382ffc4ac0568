//! The formats, frozen: a test that fails here means that old stores can no longer be read.

use jute::{Id, SessionId};

use super::*;

/// What every test of a node starts from.
fn znode(owner: Owner, data_length: Option<u32>, acl: Vec<Acl>) -> Znode {
    Znode {
        czxid: Zxid(0x1_0000_0002),
        mzxid: Zxid(0x1_0000_0003),
        pzxid: Zxid(0x1_0000_0004),
        ctime_ms: 0x0102_0304,
        mtime_ms: 0x0102_0305,
        version: Version(6),
        aversion: Version(-1),
        children_created: 8,
        children_present: 7,
        owner,
        data_length,
        acl: acl.into(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn unhex(text: &str) -> Vec<u8> {
    let text: String = text.split_whitespace().collect();
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

/// Compares a record with its frozen bytes: header first, then the payload.
fn assert_frozen(record: &[u8], header: &str, payload: &str) {
    assert_eq!(hex(&record[HEADER_BYTES..]), hex(&unhex(payload)), "payload");
    assert_eq!(hex(&record[..HEADER_BYTES]), header, "version and checksum");
}

/// The numbers of [`znode`], up to its owner.
const ZNODE_NUMBERS: &str = "0000000100000002 0000000100000003 0000000100000004 0000000001020304 \
                             0000000001020305 00000006 ffffffff 00000008 00000007";

#[test]
fn every_format_has_its_frozen_bytes_in_this_file() {
    let known: Vec<_> = FORMAT_HISTORY.iter().map(|row| (row.record, row.version)).collect();
    let frozen = [
        ("log entry", 1),
        ("state", 1),
        ("znode", 1),
        ("data", 1),
        ("session", 1),
        ("progress", 1),
    ];
    assert_eq!(known, frozen, "a new format comes with a test like those below");
}

#[test]
fn opaque_records_are_frozen() {
    for (format, header) in [(&ENTRY, "01bddff271"), (&STATE, "01bddff271"), (&DATA, "01bddff271")]
    {
        let record = seal(format, b"key", 7, |out| out.put_slice(b"payload"));
        assert_frozen(&record, header, "7061796c6f6164");
        assert_eq!(unseal(format, b"key", &record), Ok(&b"payload"[..]));
    }
}

#[test]
fn a_znode_with_the_open_acl_is_frozen() {
    let node = znode(Owner::Persistent, Some(2), vec![Acl::anyone(Perms::ALL)]);
    let record = encode_znode(b"\0\x01/a", &node, b"hi");
    let payload = format!("{ZNODE_NUMBERS} 0000000000000000 00000002 00 6869");
    assert_frozen(&record, "0111e30b93", &payload);
    let decoded = decode_znode(&AclReader::new(), b"\0\x01/a", &record);
    assert_eq!(decoded, Ok((node, &b"hi"[..])));
}

#[test]
fn a_znode_with_a_listed_acl_and_null_data_is_frozen() {
    let acl = vec![Acl { perms: Perms::READ, id: Id::new("ip", "::1") }];
    let node = znode(Owner::Ephemeral(SessionId(0x0100_0000_0000_0001)), None, acl);
    let record = encode_znode(b"\0\x01/a", &node, b"");
    let payload = format!(
        "{ZNODE_NUMBERS} 0100000000000001 ffffffff 01 00000001 00000001 00000002 6970 00000003 \
         3a3a31"
    );
    assert_frozen(&record, "01015ba541", &payload);
    let decoded = decode_znode(&AclReader::new(), b"\0\x01/a", &record);
    assert_eq!(decoded, Ok((node, &b""[..])));
}

#[test]
fn a_session_is_frozen() {
    let session = Session {
        timeout_ms: 30_000,
        password: *b"0123456789abcdef",
        holder: Holder { server: 1, boot: 2, connection: 3 },
    };
    let record = encode_session(b"12345678", &session);
    let payload = "00007530 30313233343536373839616263646566 0000000000000001 0000000000000002 \
                   0000000000000003";
    assert_frozen(&record, "0179079040", payload);
    assert_eq!(decode_session(b"12345678", &record), Ok(session));
}

#[test]
fn progress_is_frozen() {
    let progress = Progress { zxid: Zxid(0x7_0000_0009), term: 5 };
    let record = encode_progress(b"progress", progress);
    assert_frozen(&record, "010a218983", "0000000700000009 0000000000000005");
    assert_eq!(decode_progress(b"progress", &record), Ok(progress));
}

#[test]
fn any_flipped_bit_and_any_other_key_is_noticed() {
    let node = znode(Owner::Container, Some(2), vec![Acl::anyone(Perms::READ)]);
    let record = encode_znode(b"key", &node, b"hi");
    for bit in 0..record.len() * 8 {
        let mut damaged = record.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let found = decode_znode(&AclReader::new(), b"key", &damaged);
        assert_eq!(found, Err(Flaw::Checksum), "bit {bit}");
    }
    let found = decode_znode(&AclReader::new(), b"kez", &record);
    assert_eq!(found, Err(Flaw::Checksum), "under another key");
    for length in 0..HEADER_BYTES {
        let found = unseal(&ZNODE, b"key", &record[..length]);
        assert_eq!(found, Err(Flaw::TooShort), "{length} bytes");
    }
}

#[test]
fn a_whole_record_of_a_later_format_is_told_from_damage() {
    let later = RecordFormat { record: "znode", version: 2, layout: "unknown" };
    let record = seal(&later, b"key", 0, |_| {});
    assert_eq!(unseal(&ZNODE, b"key", &record), Err(Flaw::NewerFormat { found: 2 }));
}

#[test]
fn a_whole_record_that_makes_no_sense_is_refused() {
    let node = znode(Owner::Persistent, Some(2), vec![Acl::anyone(Perms::ALL)]);
    for data in [&b""[..], b"h", b"hi!"] {
        let record = encode_znode(b"key", &node, data);
        let found = decode_znode(&AclReader::new(), b"key", &record);
        assert!(matches!(found, Err(Flaw::Senseless(_))), "{found:?}");
    }
    let long = seal(&PROGRESS, b"progress", 17, |out| out.put_bytes(0, 17));
    assert!(matches!(decode_progress(b"progress", &long), Err(Flaw::Senseless(_))));
    let short = seal(&SESSION, b"12345678", 43, |out| out.put_bytes(0, 43));
    assert!(matches!(decode_session(b"12345678", &short), Err(Flaw::Senseless(_))));
}
