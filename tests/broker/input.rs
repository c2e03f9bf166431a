//! What is no request: the connection closes, the log says why, and nobody else notices.

use crate::batches::batch;
use crate::client::{Client, Produce, ask};
use crate::process::{Broker, wait_for};
use klamm::wire::codec::Reader;
use klamm::wire::frame::request_frame;
use klamm::wire::messages::fetch_request::{FetchPartition, FetchTopic};
use klamm::wire::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse, FetchRequest, MetadataRequest};
use std::io::Write;

/// A TLS client's first bytes.
const TLS_HELLO: &[u8] = &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03, 0x5a, 0x5a, 0x5a, 0x5a];

fn framed(content: &[u8]) -> Vec<u8> {
    [&(content.len() as i32).to_be_bytes(), content].concat()
}

/// Head of a request: API, version, correlation id, no client.
fn head(api: i16, version: i16) -> Vec<u8> {
    [&api.to_be_bytes()[..], &version.to_be_bytes(), &[0, 0, 0, 1], &[0xff, 0xff]].concat()
}

#[test]
fn what_is_no_request_closes_the_connection() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[("socket.request.max.bytes", "2000000")]);
    let mut witness = Client::connect(broker.address);
    witness.create("t", 1, &[]);
    let metadata = request_frame(ApiKey::Metadata, 9, 1, Some("me"), |w| {
        MetadataRequest { topics: None, ..Default::default() }.encode(w, 9);
    });
    let metadata = metadata.concat();
    // Its version has a header with a tag section, here an empty one.
    let not_served = framed(&[&head(ApiKey::OffsetCommit as i16, 10)[..], &[0]].concat());
    let short = framed(&metadata[4..metadata.len() - 3]);
    for (name, bytes, reason) in [
        ("a TLS hello", TLS_HELLO.to_vec(), "TLS"),
        ("an HTTP request", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), "HTTP"),
        ("a frame above the limit", 2_000_001i32.to_be_bytes().to_vec(), "2000001"),
        ("the largest length", i32::MAX.to_be_bytes().to_vec(), "2147483647"),
        ("a negative length", (-1i32).to_be_bytes().to_vec(), "-1"),
        ("nothing in the frame", framed(&[]), "malformed request header"),
        ("half a head", framed(&[0, 3, 0]), "malformed request header"),
        ("noise", framed(&[0x5a; 100]), "unknown API key 23130"),
        ("an unknown API", framed(&head(999, 0)), "unknown API key 999"),
        ("a version that is not served", not_served, "OffsetCommit version 10"),
        ("a version too new", framed(&head(ApiKey::Metadata as i16, 99)), "version 99 of Metadata"),
        ("a version too old", framed(&head(ApiKey::Fetch as i16, 3)), "version 3 of Fetch"),
        ("a negative version", framed(&head(ApiKey::Fetch as i16, -1)), "version -1 of Fetch"),
        ("Produce below what is taken", framed(&head(ApiKey::Produce as i16, 2)), "version 2 of Produce"),
        ("a request that ends early", short, "malformed Metadata request"),
        ("a body of nothing", framed(&head(ApiKey::CreateTopics as i16, 2)), "malformed"),
    ] {
        // Again and again, because only a few reasons a second are logged.
        wait_for(&format!("{reason:?} in the log"), || {
            let mut client = Client::connect(broker.address);
            client.stream.write_all(&bytes).expect(name);
            assert!(client.is_closed(), "{name}");
            Produce::to("t", 0, batch(1)).write(&mut witness);
            broker.log().contains(reason).then_some(())
        });
    }
    // A peer that leaves in the middle of a request.
    for cut in [2, 9, metadata.len() - 1] {
        let mut client = Client::connect(broker.address);
        client.stream.write_all(&metadata[..cut]).unwrap();
        client.stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(client.is_closed());
        Produce::to("t", 0, batch(1)).write(&mut witness);
    }
}

#[test]
fn requests_before_the_fault_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let mut client = Client::connect(broker.address);
    let sent = client.send(ApiKey::ApiVersions, 0, |w| ApiVersionsRequest::default().encode(w, 0));
    client.stream.write_all(&framed(&head(999, 0))).unwrap();
    assert_eq!(client.receive(ApiKey::ApiVersions, 0).0, sent);
    assert!(client.is_closed());
    // One that would wait for weeks is answered at once.
    let mut client = Client::connect(broker.address);
    client.create("t", 1, &[]);
    let partitions = vec![FetchPartition { current_leader_epoch: -1, partition_max_bytes: 1000, ..Default::default() }];
    let topics = vec![FetchTopic { topic: "t".into(), partitions, ..Default::default() }];
    let fetch = FetchRequest { max_wait_ms: i32::MAX, min_bytes: 1, topics, session_epoch: -1, ..Default::default() };
    let sent = client.send(ApiKey::Fetch, 11, |w| fetch.encode(w, 11));
    client.stream.write_all(&framed(&head(999, 0))).unwrap();
    assert_eq!(client.receive(ApiKey::Fetch, 11).0, sent);
    assert!(client.is_closed());
}

#[test]
fn a_header_that_never_completes_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[("connection.header.timeout.ms", "1000")]);
    let mut witness = Client::connect(broker.address);
    witness.create("t", 1, &[]);
    for bytes in [&[0][..], &[0, 0, 0, 50], &[0, 0, 0, 50, 0, 3]] {
        let mut client = Client::connect(broker.address);
        client.stream.write_all(bytes).unwrap();
        assert!(client.is_closed());
    }
    broker.wait_for_log("connection.header.timeout.ms");
    // Nothing has been begun here, so nothing is late.
    Produce::to("t", 0, batch(1)).write(&mut witness);
}

/// A request that arrives a byte at a time, so slowly that it never comes to its end.
#[test]
fn a_request_that_drips_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [("connection.header.timeout.ms", "1500"), ("connection.request.timeout.ms", "3000")];
    let broker = Broker::start(dir.path(), &settings);
    let request = framed(&[&head(ApiKey::Metadata as i16, 1)[..], &[0; 1000]].concat());
    for (at_once, reason) in [(0, "connection.header.timeout.ms"), (20, "connection.request.timeout.ms")] {
        let mut client = Client::connect(broker.address);
        client.stream.write_all(&request[..at_once]).unwrap();
        let mut sent = at_once;
        // Far more often than the deadlines, and far longer.
        while client.stream.write_all(&request[sent..sent + 1]).is_ok() {
            sent += 1;
            assert!(sent < request.len(), "{sent} bytes were taken");
            std::thread::sleep(std::time::Duration::from_millis(250));
        }
        broker.wait_for_log(reason);
    }
    // A request that takes longer than its header may is served.
    let mut client = Client::connect(broker.address);
    let request = framed(&[&head(ApiKey::ApiVersions as i16, 0)[..], &[]].concat());
    let mut larger = framed(&[&head(ApiKey::Metadata as i16, 1)[..], &[0, 0, 0, 1, 0, 1, b't']].concat());
    larger.extend(request);
    client.stream.write_all(&larger[..14]).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(2000));
    client.stream.write_all(&larger[14..]).unwrap();
    assert!(client.frame().is_some() && client.frame().is_some());
}

#[test]
fn reasons_are_not_logged_without_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(dir.path(), &[]);
    for _ in 0..500 {
        let mut client = Client::connect(broker.address);
        client.stream.write_all(&framed(&head(999, 0))).unwrap();
        assert!(client.is_closed());
    }
    broker.assert_alive();
    let told = broker.log().lines().filter(|line| line.contains("unknown API key 999")).count();
    assert!((1..400).contains(&told), "{told} lines");
}

#[test]
fn unknown_versions_of_api_versions_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[]);
    let mut client = Client::connect(broker.address);
    for version in [5, 99, i16::MAX, -1] {
        // The tags of a header that a newer client may send.
        let request = [&head(ApiKey::ApiVersions as i16, version)[..], &[0]].concat();
        client.stream.write_all(&framed(&request)).unwrap();
        let frame = client.frame().expect("the connection stays open");
        assert_eq!(frame[..4], [0, 0, 0, 1], "a header of version 0");
        let mut reader = Reader::new(&frame[4..]);
        let response = ApiVersionsResponse::decode(&mut reader, 0).expect("a body of version 0");
        assert_eq!((response.error_code, reader.remaining()), (35, 0));
        let own = response.api_keys.iter().find(|api| api.api_key == ApiKey::ApiVersions as i16).expect("listed");
        assert_eq!((own.min_version, own.max_version), (0, 4));
    }
    for version in 0..=4 {
        let request = ApiVersionsRequest {
            client_software_name: "test".into(),
            client_software_version: "1".into(),
            ..Default::default()
        };
        let response = ask!(client, ApiVersions, version, ApiVersionsResponse, request);
        assert_eq!((response.error_code, response.api_keys.len()), (0, klamm::shard::api::versions().len()));
    }
}
