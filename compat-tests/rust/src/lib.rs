//! What the Rust client has to find in a server.
//!
//! The client asks for more than others do: persistent and recursive watches, `setWatches2`,
//! `multiRead`, `whoAmI`, the number of descendants, the ephemerals of a session, and the zxid that
//! an event carries since ZooKeeper 3.9.

#![cfg(test)]

mod harness;
mod link;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::future::join_all;
use zk::EventType::{NodeChildrenChanged, NodeCreated, NodeDataChanged, NodeDeleted, Session};
use zookeeper_client as zk;

use harness::*;
use link::Link;

#[tokio::test]
async fn a_session_has_an_id_and_a_timeout_in_the_servers_range() {
    for (asked_ms, expected_ms) in [(100, 1_000), (7_000, 7_000), (3_600_000, 30_000)] {
        let asked = Duration::from_millis(asked_ms);
        let client = zk::Client::connector()
            .with_session_timeout(asked)
            .connect(&server())
            .await
            .unwrap();
        assert_ne!(client.session_id().0, 0);
        assert_eq!(
            client.session_timeout(),
            Duration::from_millis(expected_ms),
            "for {asked_ms} ms"
        );
    }
}

#[tokio::test]
async fn nodes_are_created_read_updated_and_deleted() {
    let client = connect().await;
    let path = home(&client, "crud").await + "/n";
    let now_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis() as i64;

    let (born, _) = client.create(&path, b"one", &OPEN).await.unwrap();
    assert_eq!(
        (born.mzxid, born.pzxid, born.mtime),
        (born.czxid, born.czxid, born.ctime)
    );
    assert_eq!((born.version, born.cversion, born.aversion), (0, 0, 0));
    assert_eq!(
        (born.ephemeral_owner, born.data_length, born.num_children),
        (0, 3, 0)
    );
    assert!(
        born.czxid > 0 && (born.ctime - now_ms).abs() < 60_000,
        "{born:?}, {now_ms}"
    );
    assert_eq!(get(&client, &path).await, ("one".to_owned(), born));

    let updated = client.set_data(&path, b"three", Some(0)).await.unwrap();
    assert!(updated.mzxid > born.mzxid && updated.mtime >= born.mtime);
    let expected = zk::Stat {
        mzxid: updated.mzxid,
        mtime: updated.mtime,
        version: 1,
        data_length: 5,
        ..born
    };
    assert_eq!(updated, expected);
    assert_eq!(stat(&client, &path).await, Some(updated));

    assert_eq!(
        client.set_data(&path, b"", Some(0)).await,
        Err(zk::Error::BadVersion)
    );
    assert_eq!(
        client.delete(&path, Some(0)).await,
        Err(zk::Error::BadVersion)
    );
    client.delete(&path, Some(1)).await.unwrap();
    assert_eq!(stat(&client, &path).await, None);
}

#[tokio::test]
async fn a_parent_counts_its_children() {
    let client = connect().await;
    let path = home(&client, "parent").await;
    let (_, empty) = client.get_children(&path).await.unwrap();

    create(&client, &format!("{path}/a"), "").await;
    let b = create(&client, &format!("{path}/b"), "").await;
    set(&client, &format!("{path}/b"), "no change to the parent").await;
    let (_, two) = client.get_children(&path).await.unwrap();
    delete(&client, &format!("{path}/a")).await;
    let (names, one) = client.get_children(&path).await.unwrap();

    assert_eq!(names, ["b"]);
    assert_eq!(
        (empty.num_children, empty.cversion, empty.pzxid),
        (0, 0, empty.czxid)
    );
    assert_eq!((two.num_children, two.cversion, two.pzxid), (2, 2, b.czxid));
    assert_eq!((one.num_children, one.cversion), (1, 3));
    assert!(one.pzxid > two.pzxid);
    assert_eq!((one.mzxid, one.version), (empty.mzxid, 0));
}

#[tokio::test]
async fn sequential_names_count_every_child_ever_created() {
    let client = connect().await;
    let path = home(&client, "sequential").await;
    let ephemeral = zk::CreateMode::EphemeralSequential.with_acls(zk::Acls::anyone_all());

    let (_, first) = client
        .create(&format!("{path}/s-"), b"", &SEQUENTIAL)
        .await
        .unwrap();
    create(&client, &format!("{path}/plain"), "").await;
    delete(&client, &format!("{path}/plain")).await;
    let again = client
        .create(&format!("{path}/s-0000000000"), b"", &OPEN)
        .await
        .unwrap_err();
    let (_, third) = client
        .create(&format!("{path}/s-"), b"", &SEQUENTIAL)
        .await
        .unwrap();
    let (stat, fourth) = client
        .create(&format!("{path}/e-"), b"", &ephemeral)
        .await
        .unwrap();

    assert_eq!(
        (first.into_i64(), third.into_i64(), fourth.into_i64()),
        (0, 2, 3)
    );
    assert_eq!(again, zk::Error::NodeExists);
    assert_eq!(stat.ephemeral_owner, client.session_id().0);
    assert_eq!(
        children(&client, &path).await,
        ["e-0000000003", "s-0000000000", "s-0000000002"]
    );
}

#[tokio::test]
async fn an_ephemeral_lives_as_long_as_its_session() {
    let (owner, witness) = (connect().await, connect().await);
    let path = home(&witness, "ephemeral").await;
    let node = format!("{path}/e");
    let (stat, _) = owner.create(&node, b"mine", &EPHEMERAL).await.unwrap();

    assert_eq!(stat.ephemeral_owner, owner.session_id().0);
    let child = witness.create(&format!("{node}/child"), b"", &OPEN).await;
    assert_eq!(child.unwrap_err(), zk::Error::NoChildrenForEphemerals);
    let (deleted, changed) = (
        watch_data(&witness, &node).await,
        watch_children(&witness, &path).await,
    );
    drop(owner);
    let zxid = fires(deleted, NodeDeleted, &node).await;
    assert_eq!(fires(changed, NodeChildrenChanged, &path).await, zxid);
    assert_eq!(get(&witness, &path).await.1.pzxid, zxid);
}

#[tokio::test]
async fn a_container_goes_after_its_last_child() {
    let client = connect().await;
    let path = home(&client, "container").await + "/c";
    let container = zk::CreateMode::Container.with_acls(zk::Acls::anyone_all());
    let (stat, _) = client.create(&path, b"data", &container).await.unwrap();
    assert_eq!((stat.ephemeral_owner, stat.data_length), (0, 4));

    create(&client, &format!("{path}/child"), "").await;
    let gone = watch_data(&client, &path).await;
    delete(&client, &format!("{path}/child")).await;
    fires(gone, NodeDeleted, &path).await;
}

#[tokio::test]
async fn a_ttl_node_goes_when_its_time_is_over() {
    let client = connect().await;
    let path = home(&client, "ttl").await;
    let ttl = Duration::from_millis(1500);
    let start = Instant::now();

    let (stat, _) = client
        .create(&format!("{path}/t"), b"", &OPEN.with_ttl(ttl))
        .await
        .unwrap();
    assert_eq!(stat.ephemeral_owner, 0);
    client
        .create(&format!("{path}/parent"), b"", &OPEN.with_ttl(ttl))
        .await
        .unwrap();
    create(&client, &format!("{path}/parent/child"), "").await;
    let hour = SEQUENTIAL.with_ttl(Duration::from_secs(3600));
    let (_, sequence) = client
        .create(&format!("{path}/s-"), b"", &hour)
        .await
        .unwrap();
    assert_eq!(sequence.into_i64(), 2);

    let gone = watch_data(&client, &format!("{path}/t")).await;
    fires(gone, NodeDeleted, &format!("{path}/t")).await;
    assert!(start.elapsed() >= ttl);
    assert_eq!(children(&client, &path).await, ["parent", "s-0000000002"]);
}

#[tokio::test]
async fn refusals_have_their_own_codes() {
    let client = connect().await;
    let path = home(&client, "errors").await;
    let none = format!("{path}/none");
    create(&client, &format!("{path}/child"), "").await;

    assert_eq!(client.get_data(&none).await.unwrap_err(), zk::Error::NoNode);
    assert_eq!(
        client.set_data(&none, b"", None).await.unwrap_err(),
        zk::Error::NoNode
    );
    assert_eq!(
        client.get_children(&none).await.unwrap_err(),
        zk::Error::NoNode
    );
    assert_eq!(client.get_acl(&none).await.unwrap_err(), zk::Error::NoNode);
    assert_eq!(
        client.count_descendants_number(&none).await.unwrap_err(),
        zk::Error::NoNode
    );
    assert_eq!(
        client.delete(&none, None).await.unwrap_err(),
        zk::Error::NoNode
    );
    let orphan = client.create(&format!("{none}/child"), b"", &OPEN).await;
    assert_eq!(orphan.unwrap_err(), zk::Error::NoNode);
    assert_eq!(
        client.create(&path, b"", &OPEN).await.unwrap_err(),
        zk::Error::NodeExists
    );
    assert_eq!(
        client.delete(&path, None).await.unwrap_err(),
        zk::Error::NotEmpty
    );
    let system = client.delete("/zookeeper/quota", None).await.unwrap_err();
    assert!(matches!(system, zk::Error::BadArguments(_)), "{system}");
    let nonsense = [zk::Acl::new(
        zk::Permission::ALL,
        zk::AuthId::new("nonsense", "x"),
    )];
    assert_eq!(
        client.set_acl(&path, &nonsense, None).await.unwrap_err(),
        zk::Error::InvalidAcl
    );
    let update = zk::EnsembleUpdate::Incremental {
        joinings: ["server.2=h:1:2;3"].as_slice().iter().copied(),
        leavings: [].as_slice().iter().copied(),
    };
    assert_eq!(
        client.update_ensemble(update, None).await.unwrap_err(),
        zk::Error::ReconfigDisabled
    );
}

#[tokio::test]
async fn one_shot_watches_fire_once_with_the_zxid_of_the_change() {
    let (client, other) = (connect().await, connect().await);
    let path = home(&client, "watches").await;
    let node = format!("{path}/n");

    let (created, changed) = (
        watch_existence(&client, &node).await,
        watch_children(&client, &path).await,
    );
    let born = create(&other, &node, "").await;
    assert_eq!(fires(created, NodeCreated, &node).await, born.czxid);
    assert_eq!(fires(changed, NodeChildrenChanged, &path).await, born.czxid);

    let (data, existence) = (
        watch_data(&client, &node).await,
        watch_existence(&client, &node).await,
    );
    let updated = set(&other, &node, "").await;
    assert_eq!(fires(data, NodeDataChanged, &node).await, updated.mzxid);
    assert_eq!(
        fires(existence, NodeDataChanged, &node).await,
        updated.mzxid
    );

    let data = watch_data(&client, &node).await;
    let (own, changed) = (
        watch_children(&client, &node).await,
        watch_children(&client, &path).await,
    );
    other
        .set_acl(
            &node,
            &[zk::Acl::new(zk::Permission::ALL, zk::AuthId::anyone())],
            None,
        )
        .await
        .unwrap();
    delete(&other, &node).await;
    let zxid = fires(data, NodeDeleted, &node).await;
    assert_eq!(fires(own, NodeDeleted, &node).await, zxid);
    assert_eq!(fires(changed, NodeChildrenChanged, &path).await, zxid);
}

#[tokio::test]
async fn a_notification_comes_before_the_writes_reply() {
    let client = connect().await;
    let path = home(&client, "before-reply").await;
    for i in 0..50 {
        let node = format!("{path}/n{i}");
        let (created, changed) = (
            watch_existence(&client, &node).await,
            watch_children(&client, &path).await,
        );
        let born = create(&client, &node, "").await;
        assert_eq!(has_fired(created, NodeCreated, &node), born.czxid);
        assert_eq!(has_fired(changed, NodeChildrenChanged, &path), born.czxid);
        let data = watch_data(&client, &node).await;
        let updated = set(&client, &node, "").await;
        assert_eq!(has_fired(data, NodeDataChanged, &node), updated.mzxid);
    }
}

#[tokio::test]
async fn a_reader_hears_of_a_change_before_it_sees_it() {
    let (reader, writer) = (connect().await, connect().await);
    let path = home(&writer, "reader").await;
    for i in 1..=50 {
        let watcher = watch_data(&reader, &path).await;
        let updated = set(&writer, &path, &i.to_string()).await;
        assert_eq!(get(&reader, &path).await, (i.to_string(), updated));
        assert_eq!(has_fired(watcher, NodeDataChanged, &path), updated.mzxid);
    }
}

#[tokio::test]
async fn a_persistent_watch_reports_its_node_and_its_children_for_good() {
    let (client, other) = (connect().await, connect().await);
    let path = home(&client, "persistent").await;
    let node = format!("{path}/n");
    let mut watcher = client
        .watch(&node, zk::AddWatchMode::Persistent)
        .await
        .unwrap();

    create(&other, &node, "").await;
    set(&other, &node, "1").await;
    set(&other, &node, "1").await;
    create(&other, &format!("{node}/child"), "").await;
    set(&other, &format!("{node}/child"), "not this node's data").await;
    delete(&other, &format!("{node}/child")).await;
    delete(&other, &node).await;
    create(&other, &node, "").await;
    reports(
        &mut watcher,
        &[
            (NodeCreated, &node),
            (NodeDataChanged, &node),
            (NodeDataChanged, &node),
            (NodeChildrenChanged, &node),
            (NodeChildrenChanged, &node),
            (NodeDeleted, &node),
            (NodeCreated, &node),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_recursive_watch_reports_all_below_it() {
    let (client, other) = (connect().await, connect().await);
    let path = home(&client, "recursive").await;
    let (a, b) = (format!("{path}/a"), format!("{path}/a/b"));
    let mut watcher = client
        .watch(&path, zk::AddWatchMode::PersistentRecursive)
        .await
        .unwrap();

    create(&other, &format!("{path}2"), "a sibling of the watched node").await;
    create(&other, &a, "").await;
    create(&other, &b, "").await;
    set(&other, &b, "").await;
    set(&other, &path, "").await;
    delete(&other, &b).await;
    delete(&other, &a).await;
    reports(
        &mut watcher,
        &[
            (NodeCreated, &a),
            (NodeCreated, &b),
            (NodeDataChanged, &b),
            (NodeDataChanged, &path),
            (NodeDeleted, &b),
            (NodeDeleted, &a),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_removed_watch_is_forgotten_by_the_server() {
    let client = connect().await;
    let path = home(&client, "removed").await;
    let persistent = client
        .watch(&path, zk::AddWatchMode::Persistent)
        .await
        .unwrap();
    let data = watch_data(&client, &path).await;
    assert!(word("wchp").await.lines().any(|line| line == path));

    // Dropping it removes it in the background, this waits for the answer.
    #[allow(deprecated)]
    {
        data.remove().await.unwrap();
        assert!(
            word("wchp").await.lines().any(|line| line == path),
            "the other watch is still there"
        );
        persistent.remove().await.unwrap();
    }
    assert!(!word("wchp").await.lines().any(|line| line == path));
}

#[tokio::test]
async fn a_multi_does_all() {
    let client = connect().await;
    let path = home(&client, "multi").await;
    let (old, new) = (format!("{path}/old"), format!("{path}/new"));
    create(&client, &old, "").await;

    let mut writer = client.new_multi_writer();
    writer.add_create(&new, b"1", &OPEN).unwrap();
    writer
        .add_create(&format!("{path}/s-"), b"", &SEQUENTIAL)
        .unwrap();
    writer.add_set_data(&new, b"two", Some(0)).unwrap();
    writer.add_check_version(&new, 1).unwrap();
    writer.add_delete(&old, Some(0)).unwrap();
    let results = writer.commit().await.unwrap();

    let [
        zk::MultiWriteResult::Create {
            path: first,
            stat: born,
        },
        zk::MultiWriteResult::Create {
            path: second,
            stat: other,
        },
        zk::MultiWriteResult::SetData { stat: updated },
        zk::MultiWriteResult::Check,
        zk::MultiWriteResult::Delete,
    ] = results.as_slice()
    else {
        panic!("{results:?}")
    };
    assert_eq!((first, second), (&new, &format!("{path}/s-0000000002")));
    assert_eq!(
        (
            born.version,
            born.data_length,
            updated.version,
            updated.data_length
        ),
        (0, 1, 1, 3)
    );
    assert_eq!(
        (born.czxid, other.czxid, updated.mzxid),
        (born.czxid, born.czxid, born.czxid)
    );
    assert_eq!(stat(&client, &new).await, Some(*updated));
    assert_eq!(get(&client, &path).await.1.pzxid, born.czxid);
    assert_eq!(children(&client, &path).await, ["new", "s-0000000002"]);
}

#[tokio::test]
async fn a_failed_multi_does_nothing() {
    let client = connect().await;
    let path = home(&client, "multi-failed").await;
    let before = stat(&client, &path).await;
    let mut watcher = client
        .watch(&path, zk::AddWatchMode::Persistent)
        .await
        .unwrap();

    let mut writer = client.new_multi_writer();
    writer
        .add_create(&format!("{path}/s-"), b"", &SEQUENTIAL)
        .unwrap();
    writer.add_set_data(&path, b"changed", None).unwrap();
    writer.add_check_version(&path, 9).unwrap();
    writer.add_delete(&format!("{path}/never"), None).unwrap();
    let error = writer.commit().await.unwrap_err();

    assert_eq!(
        error,
        zk::MultiWriteError::OperationFailed {
            index: 2,
            source: zk::Error::BadVersion
        }
    );
    reports(&mut watcher, &[]).await;
    assert_eq!(stat(&client, &path).await, before);
    let (_, sequence) = client
        .create(&format!("{path}/s-"), b"", &SEQUENTIAL)
        .await
        .unwrap();
    assert_eq!(sequence.into_i64(), 0, "no number is lost");
}

#[tokio::test]
async fn a_multi_makes_every_kind_of_node_and_fires_every_watch() {
    let client = connect().await;
    let path = home(&client, "multi-modes").await;
    let mut watcher = client
        .watch(&path, zk::AddWatchMode::PersistentRecursive)
        .await
        .unwrap();
    let container = zk::CreateMode::Container.with_acls(zk::Acls::anyone_all());
    let (c, t, e) = (
        format!("{path}/c"),
        format!("{path}/t"),
        format!("{path}/e"),
    );

    let mut writer = client.new_multi_writer();
    writer.add_create(&c, b"", &container).unwrap();
    writer
        .add_create(&t, b"", &OPEN.with_ttl(Duration::from_secs(3600)))
        .unwrap();
    writer.add_create(&e, b"", &EPHEMERAL).unwrap();
    writer.add_set_data(&e, b"", None).unwrap();
    writer.add_delete(&t, None).unwrap();
    let results = writer.commit().await.unwrap();

    for (result, expected) in results.iter().zip([&c, &t, &e]) {
        let zk::MultiWriteResult::Create { path, stat } = result else {
            panic!("{result:?}")
        };
        assert_eq!((path, stat.version, stat.num_children), (expected, 0, 0));
    }
    assert_eq!(
        stat(&client, &e).await.unwrap().ephemeral_owner,
        client.session_id().0
    );
    reports(
        &mut watcher,
        &[
            (NodeCreated, &c),
            (NodeCreated, &t),
            (NodeCreated, &e),
            (NodeDataChanged, &e),
            (NodeDeleted, &t),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_multi_read_tells_each_error_by_itself() {
    let client = connect().await;
    let path = home(&client, "multi-read").await;
    create(&client, &format!("{path}/a"), "data").await;

    let mut reader = client.new_multi_reader();
    reader.add_get_data(&format!("{path}/a")).unwrap();
    reader.add_get_data(&format!("{path}/none")).unwrap();
    reader.add_get_children(&path).unwrap();
    reader.add_get_children(&format!("{path}/none")).unwrap();
    let results = reader.commit().await.unwrap();

    let [
        zk::MultiReadResult::Data { data, stat: read },
        zk::MultiReadResult::Error { err: first },
        zk::MultiReadResult::Children { children },
        zk::MultiReadResult::Error { err: second },
    ] = results.as_slice()
    else {
        panic!("{results:?}")
    };
    assert_eq!(
        (data.as_slice(), Some(*read)),
        (&b"data"[..], stat(&client, &format!("{path}/a")).await)
    );
    assert_eq!(children.as_slice(), ["a"]);
    assert_eq!((first, second), (&zk::Error::NoNode, &zk::Error::NoNode));
}

#[tokio::test]
async fn a_digest_acl_admits_its_user_only() {
    let (owner, stranger) = (connect().await, connect().await);
    let path = home(&owner, "digest").await + "/secret";
    owner.auth("digest", b"u:p").await.unwrap();
    let acl = [zk::Acl::new(
        zk::Permission::ALL,
        zk::AuthId::new("digest", "u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ="),
    )];
    let closed = zk::CreateMode::Persistent.with_acls(zk::Acls::new(&acl));
    owner.create(&path, b"data", &closed).await.unwrap();
    assert_eq!(owner.get_acl(&path).await.unwrap().0, acl);

    for password in ["", "wrong"] {
        if !password.is_empty() {
            stranger
                .auth("digest", format!("u:{password}").as_bytes())
                .await
                .unwrap();
        }
        assert_eq!(
            stranger.get_data(&path).await.unwrap_err(),
            zk::Error::NoAuth
        );
        assert_eq!(
            stranger.check_stat(&path).await.unwrap_err(),
            zk::Error::NoAuth
        );
        assert_eq!(
            stranger.get_children(&path).await.unwrap_err(),
            zk::Error::NoAuth
        );
        assert_eq!(
            stranger.set_data(&path, b"", None).await.unwrap_err(),
            zk::Error::NoAuth
        );
        assert_eq!(
            stranger.get_acl(&path).await.unwrap_err(),
            zk::Error::NoAuth
        );
        assert_eq!(
            stranger.set_acl(&path, &acl, None).await.unwrap_err(),
            zk::Error::NoAuth
        );
        let child = stranger.create(&format!("{path}/child"), b"", &OPEN).await;
        assert_eq!(child.unwrap_err(), zk::Error::NoAuth);
        let mut writer = stranger.new_multi_writer();
        writer.add_check_version(&path, 0).unwrap();
        let expected = zk::MultiWriteError::OperationFailed {
            index: 0,
            source: zk::Error::NoAuth,
        };
        assert_eq!(writer.commit().await.unwrap_err(), expected);
    }
    stranger.auth("digest", b"u:p").await.unwrap();
    assert_eq!(get(&stranger, &path).await.0, "data");
}

#[tokio::test]
async fn the_auth_scheme_stands_for_the_creators_identities() {
    let client = connect().await;
    let path = home(&client, "auth").await;
    let mine = zk::CreateMode::Persistent.with_acls(zk::Acls::creator_all());
    let early = client.create(&format!("{path}/early"), b"", &mine).await;
    assert_eq!(early.unwrap_err(), zk::Error::InvalidAcl);

    client.auth("digest", b"u:p").await.unwrap();
    client
        .create(&format!("{path}/n"), b"", &mine)
        .await
        .unwrap();
    let (acl, _) = client.get_acl(&format!("{path}/n")).await.unwrap();
    assert_eq!(
        acl,
        [zk::Acl::new(
            zk::Permission::ALL,
            zk::AuthId::new("digest", "u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ=")
        )]
    );

    // Whoever may read it but not administer it sees that there is a user, not the digest.
    let world = zk::Acl::new(zk::Permission::READ, zk::AuthId::anyone());
    let stat = client
        .set_acl(
            &format!("{path}/n"),
            &[acl[0].clone(), world.clone()],
            Some(0),
        )
        .await
        .unwrap();
    assert_eq!((stat.aversion, stat.version), (1, 0));
    let masked = zk::Acl::new(zk::Permission::ALL, zk::AuthId::new("digest", "u:x"));
    assert_eq!(
        connect().await.get_acl(&format!("{path}/n")).await.unwrap(),
        (vec![masked, world], stat)
    );
    let stale = client.set_acl(&format!("{path}/n"), &acl, Some(0)).await;
    assert_eq!(stale.unwrap_err(), zk::Error::BadVersion);
}

#[tokio::test]
async fn a_connection_knows_who_it_is() {
    let client = connect().await;
    assert_eq!(
        client.list_auth_users().await.unwrap(),
        [zk::AuthUser::new("ip", "127.0.0.1")]
    );
    client.auth("digest", b"ann:pw").await.unwrap();
    let mut users = client.list_auth_users().await.unwrap();
    users.sort_by_key(|user| user.scheme().to_owned());
    assert_eq!(
        users,
        [
            zk::AuthUser::new("digest", "ann"),
            zk::AuthUser::new("ip", "127.0.0.1")
        ]
    );
}

#[tokio::test]
async fn an_unknown_scheme_ends_the_session_for_this_client() {
    let client = connect().await;
    assert_eq!(
        client.auth("nonsense", b"x").await.unwrap_err(),
        zk::Error::AuthFailed
    );
    state(&client, zk::SessionState::AuthFailed).await;
}

#[tokio::test]
async fn values_of_up_to_a_mebibyte_come_back_as_written() {
    let client = connect().await;
    let path = home(&client, "big").await;
    // The largest frame, less the header, the path and its length, the data's length and the version.
    let bytes_max = 0xf_ffff - (8 + 4 + path.len() + 4 + 4);
    for bytes in [0, 1, 1 << 10, 64 << 10, 1_000 << 10, bytes_max] {
        let data: Vec<u8> = (0..bytes).map(|i| (i % 251) as u8).collect();
        let stat = client.set_data(&path, &data, None).await.unwrap();
        assert_eq!(stat.data_length as usize, bytes);
        assert!(
            client.get_data(&path).await.unwrap() == (data, stat),
            "{bytes} bytes"
        );
    }
}

#[tokio::test]
async fn a_thousand_children_are_listed_and_counted() {
    let client = connect().await;
    let path = home(&client, "thousand").await;
    let names: Vec<String> = (0..1000).map(|i| format!("child-{i:04}")).collect();
    let paths: Vec<String> = names.iter().map(|name| format!("{path}/{name}")).collect();
    for result in join_all(paths.iter().map(|path| client.create(path, b"", &OPEN))).await {
        result.unwrap();
    }

    assert_eq!(children(&client, &path).await, names);
    let (_, stat) = client.get_children(&path).await.unwrap();
    assert_eq!((stat.num_children, stat.cversion), (1000, 1000));
    assert_eq!(client.count_descendants_number(&path).await.unwrap(), 1000);
}

#[tokio::test]
async fn pipelined_requests_are_done_in_order() {
    let client = connect().await;
    let path = home(&client, "pipelined").await;
    let node = format!("{path}/n");
    create(&client, &node, "").await;
    let prefix = format!("{path}/s-");

    // A call sends its request at once; nothing is awaited before the last one is under way.
    let mut creates = Vec::new();
    let mut sets = Vec::new();
    let mut gets = Vec::new();
    for i in 0..300 {
        creates.push(client.create(&prefix, b"", &SEQUENTIAL));
        sets.push(client.set_data(&node, i.to_string().as_bytes(), Some(i)));
        gets.push(client.get_data(&node));
    }

    let creates = within("the creates", join_all(creates)).await;
    let sets = within("the sets", join_all(sets)).await;
    let gets = within("the gets", join_all(gets)).await;
    let mut last_zxid = 0;
    for (i, ((create, set), get)) in creates.into_iter().zip(sets).zip(gets).enumerate() {
        let ((created, sequence), updated) = (create.unwrap(), set.unwrap());
        assert_eq!(sequence.into_i64(), i as i64 + 1);
        assert!(last_zxid < created.czxid && created.czxid < updated.mzxid);
        last_zxid = updated.mzxid;
        assert_eq!(get.unwrap(), (i.to_string().into_bytes(), updated));
    }
}

#[tokio::test]
async fn ephemerals_and_descendants_are_listed_by_prefix() {
    let (client, other) = (connect().await, connect().await);
    let path = home(&client, "listing").await;
    for name in ["e1", "e15", "f"] {
        client
            .create(&format!("{path}/{name}"), b"", &EPHEMERAL)
            .await
            .unwrap();
    }
    other
        .create(&format!("{path}/e1-other"), b"", &EPHEMERAL)
        .await
        .unwrap();

    let mut ephemerals = client.list_ephemerals(&format!("{path}/e1")).await.unwrap();
    ephemerals.sort();
    assert_eq!(ephemerals, [format!("{path}/e1"), format!("{path}/e15")]);
    assert_eq!(client.list_ephemerals("/").await.unwrap().len(), 3);
    assert_eq!(client.count_descendants_number(&path).await.unwrap(), 4);
    client.sync(&path).await.unwrap();
    assert_eq!(client.get_config().await.unwrap().1.version, 0);
}

#[tokio::test]
async fn a_chroot_is_transparent() {
    let client = connect().await;
    let path = home(&client, "chroot").await;
    let inner = client.clone().chroot(path.clone()).unwrap();
    let created = watch_existence(&inner, "/n").await;
    create(&client, &format!("{path}/n"), "data").await;
    fires(created, NodeCreated, "/n").await;
    assert_eq!(get(&inner, "/n").await.0, "data");
    assert_eq!(children(&inner, "/").await, ["n"]);
}

#[tokio::test]
/// One-shot watches only: on a reconnection this version of the client sends `setWatches` even where it
/// ought to send `setWatches2`, so that its persistent watches are lost on any server.
async fn a_session_goes_on_after_a_restart_and_its_watches_fire_for_what_it_missed() {
    let link = Link::new(server()).await;
    let client = within(
        "a session",
        connector()
            .with_auth("digest", b"u:p")
            .connect(&link.address),
    )
    .await
    .unwrap();
    let path = home(&client, "restart").await;
    let at = |name: &str| format!("{path}/{name}");
    client.create(&at("e"), b"", &EPHEMERAL).await.unwrap();
    for name in ["changed", "gone", "untouched", "parent", "quiet"] {
        create(&client, &at(name), "").await;
    }
    let mine = zk::CreateMode::Persistent.with_acls(zk::Acls::creator_all());
    client.create(&at("mine"), b"secret", &mine).await.unwrap();
    let session = client.session_id();

    let changed = watch_data(&client, &at("changed")).await;
    let gone = watch_data(&client, &at("gone")).await;
    let appeared = watch_existence(&client, &at("appeared")).await;
    let grown = watch_children(&client, &at("parent")).await;
    let untouched = watch_data(&client, &at("untouched")).await;
    let quiet = watch_children(&client, &at("quiet")).await;

    control("stop").await;
    link.cut();
    state(&client, zk::SessionState::Disconnected).await;
    control("start").await;
    let other = connect().await;
    set(&other, &at("changed"), "while it was away").await;
    delete(&other, &at("gone")).await;
    create(&other, &at("appeared"), "").await;
    create(&other, &at("parent/child"), "").await;
    link.mend();

    fires(changed, NodeDataChanged, &at("changed")).await;
    fires(gone, NodeDeleted, &at("gone")).await;
    fires(appeared, NodeCreated, &at("appeared")).await;
    fires(grown, NodeChildrenChanged, &at("parent")).await;
    state(&client, zk::SessionState::SyncConnected).await;
    assert_eq!(client.session_id(), session);
    assert_eq!(
        stat(&other, &at("e")).await.unwrap().ephemeral_owner,
        session.0
    );
    assert_eq!(get(&client, &at("mine")).await.0, "secret");

    set(&other, &at("untouched"), "").await;
    create(&other, &at("quiet/child"), "").await;
    fires(untouched, NodeDataChanged, &at("untouched")).await;
    fires(quiet, NodeChildrenChanged, &at("quiet")).await;
}

#[tokio::test]
async fn a_session_moves_to_a_second_connection_and_ends_with_it() {
    let link = Link::new(server()).await;
    let first = within("a session", connector().connect(&link.address))
        .await
        .unwrap();
    let path = home(&first, "moved").await;
    let node = format!("{path}/e");
    first.create(&node, b"", &EPHEMERAL).await.unwrap();
    link.cut();

    let second = connector().with_session(first.session().clone());
    let second = within("the same session", second.connect(&server()))
        .await
        .unwrap();
    assert_eq!(second.session_id(), first.session_id());
    assert_eq!(
        stat(&second, &node).await.unwrap().ephemeral_owner,
        first.session_id().0
    );
    set(&second, &node, "the session may write").await;

    let witness = connect().await;
    let gone = watch_data(&witness, &node).await;
    drop(second);
    fires(gone, NodeDeleted, &node).await;
    link.mend();
    state(&first, zk::SessionState::Expired).await;
    assert_eq!(
        first.get_data(&path).await.unwrap_err(),
        zk::Error::SessionExpired
    );
}

#[tokio::test]
async fn a_silent_session_expires() {
    let link = Link::new(server()).await;
    let patient = zk::Client::connector().with_session_timeout(BRIEF);
    let client = within("a session", patient.connect(&link.address))
        .await
        .unwrap();
    let witness = connect().await;
    let path = home(&witness, "expired").await;
    let node = format!("{path}/e");
    client.create(&node, b"", &EPHEMERAL).await.unwrap();
    let own = watch_data(&client, &path).await;
    let gone = watch_data(&witness, &node).await;

    link.cut();
    let start = Instant::now();
    fires(gone, NodeDeleted, &node).await;
    let lived = start.elapsed();
    assert!(lived >= BRIEF / 2, "it died {lived:?} after it fell silent");
    link.mend();
    state(&client, zk::SessionState::Expired).await;
    let event = within("the session's end", own.changed()).await;
    assert_eq!(
        (event.event_type, event.session_state),
        (Session, zk::SessionState::Expired)
    );
    assert_eq!(stat(&witness, &node).await, None);
}

#[tokio::test]
async fn a_detached_session_outlives_its_client_until_its_timeout() {
    let witness = connect().await;
    let path = home(&witness, "detached").await;
    let node = format!("{path}/e");
    let detached = zk::Client::connector()
        .with_session_timeout(BRIEF)
        .with_detached();
    let client = within("a session", detached.connect(&server()))
        .await
        .unwrap();
    client.create(&node, b"", &EPHEMERAL).await.unwrap();
    let gone = watch_data(&witness, &node).await;

    let start = Instant::now();
    drop(client);
    fires(gone, NodeDeleted, &node).await;
    // Pings keep it alive until the client is dropped, so that most of the time-out is left then.
    assert!(
        start.elapsed() >= BRIEF / 2,
        "it lived for {:?} only",
        start.elapsed()
    );
}

#[tokio::test]
async fn a_lock_is_held_by_one_at_a_time() {
    let setup = connect().await;
    let path = home(&setup, "lock").await;
    let held = std::cell::Cell::new(0);
    let grants = std::cell::Cell::new(0);
    let contend = || async {
        let client = connect().await;
        for _ in 0..3 {
            let prefix = zk::LockPrefix::new_curator(&path, "latch-").unwrap();
            let lock = within("the lock", client.lock(prefix, b"", zk::Acls::anyone_all()))
                .await
                .unwrap();
            assert_eq!(held.replace(1), 0, "two hold the lock");
            grants.set(grants.get() + 1);
            // Writes only while the lock is its own.
            lock.set_data(&path, b"", None).await.unwrap();
            assert_eq!(held.replace(0), 1);
        }
    };
    join_all((0..4).map(|_| contend())).await;
    assert_eq!(grants.get(), 12);
    assert_eq!(stat(&setup, &path).await.unwrap().version, 12);
}
