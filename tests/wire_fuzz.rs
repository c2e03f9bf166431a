//! Every decoder against mutated messages: it answers or refuses, quickly, and what it accepts is a message that encodes and
//! decodes to itself. The mutations come from fixed seeds.

#[path = "wire/sample.rs"]
#[allow(dead_code)]
mod sample;

use klamm::wire::batch::{Batch, BatchBuilder, CRC_START, HEADER_BYTES, batches, crc_ok};
use klamm::wire::codec::{Reader, Writer};
use klamm::wire::frame::Head;
use klamm::wire::messages as ours;
use klamm::wire::messages::ApiKey;
use sample::{Random, sample};

const ROUNDS: u64 = 100;
/// Bytes that decoders are likely to stumble over: lengths that are huge, negative, null or one off.
const NASTY: [u8; 8] = [0x00, 0x01, 0x02, 0x7f, 0x80, 0x81, 0xfe, 0xff];

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        let at = random.below(bytes.len() + 1);
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, NASTY[random.below(8)]),
            2 => bytes.splice(at..at, [NASTY[random.below(8)]; 4]).for_each(drop),
            3 if at < bytes.len() => drop(bytes.remove(at)),
            4 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            _ => bytes.iter_mut().skip(at).take(1 + random.below(4)).for_each(|byte| *byte = NASTY[random.below(8)]),
        }
    }
}

macro_rules! fuzz {
    ($name:ident, $declared:expr, $accepted:expr) => {{
        let declared = $declared.iter().find(|message| message.name == stringify!($name)).expect("declared");
        for version in ours::$name::VERSIONS {
            for seed in 0..ROUNDS {
                let mut random = Random(seed);
                let mut bytes = sample(declared, version, &mut random);
                mutate(&mut bytes, &mut random);
                let Ok(message) = ours::$name::decode(&mut Reader::new(&bytes), version) else {
                    continue;
                };
                $accepted += 1;
                let mut writer = Writer::new();
                message.encode(&mut writer, version);
                let written = writer.into_bytes();
                let again = ours::$name::decode(&mut Reader::new(&written), version);
                // NaN aside, of which no message has any.
                assert_eq!(again, Ok(message), "{} version {version} seed {seed}", declared.name);
            }
        }
    }};
}

macro_rules! fuzz_all {
    ($($api:ident $request:ident $response:ident;)*) => {
        #[test]
        fn messages_survive_mutation() {
            let declared = sample::messages();
            let mut accepted = 0;
            fuzz!(RequestHeader, declared, accepted);
            fuzz!(ResponseHeader, declared, accepted);
            $(fuzz!($request, declared, accepted); fuzz!($response, declared, accepted);)*
            assert!(accepted > 1000, "mutations are so harsh that nothing is tested: {accepted}");
        }
    };
}
klamm::for_each_api!(fuzz_all);

#[test]
fn noise_is_no_message_but_no_harm() {
    let mut random = Random(1);
    for _ in 0..20_000 {
        let bytes: Vec<u8> = (0..random.below(80)).map(|_| random.next() as u8).collect();
        let _ = Head::decode(&bytes);
        let api = ApiKey::ALL[random.below(ApiKey::ALL.len())];
        let version = *api.versions().start() + random.below(api.versions().count()) as i16;
        let _ = ours::Request::decode(api, version, &mut Reader::new(&bytes));
        let mut head = [api as i16, version, 0, 0].map(i16::to_be_bytes).concat();
        head.extend(&bytes);
        if let Ok(head) = Head::decode(&head) {
            assert!(head.body_start <= bytes.len() + 8);
        }
        assert!(batches(&bytes).count() <= bytes.len() / HEADER_BYTES);
    }
}

#[test]
fn batches_survive_mutation() {
    let batch = |base| {
        let headers = [("name", Some(&b"value"[..])), ("null", None)];
        let builder = BatchBuilder::new(base).record(5, Some(b"key"), None);
        builder.record_with_headers(6, None, Some(&[7; 100]), &headers).build()
    };
    let good = [batch(0), batch(2), batch(4)].concat();
    let tail = &batch(0)[CRC_START..];
    for seed in 0..20_000 {
        let mut random = Random(seed);
        let mut bytes = good.clone();
        mutate(&mut bytes, &mut random);
        let mut walk = batches(&bytes);
        for batch in walk.by_ref() {
            assert_eq!(&bytes[batch.position..][..batch.bytes.len()], batch.bytes);
            assert!(!crc_ok(batch.bytes) || batch.bytes[CRC_START..] == *tail, "seed {seed}");
            assert!(batch.records().count() <= batch.bytes.len());
            let _ = (batch.header.last_offset(), batch.header.last_sequence(), batch.header.compression());
        }
        assert!(walk.position() <= bytes.len());
        assert!(walk.position() == bytes.len() || Batch::first(&bytes[walk.position()..]).is_err());
    }
}
