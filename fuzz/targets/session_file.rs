//! The reader of stored session files.
//!
//! The input is the whole file of one session, whose id is that of the seeds.

#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade::Kind;
use palisade::session::SessionStore;
use palisade_fuzz::assert_clean;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};
use uuid::Uuid;

const ID: Uuid = Uuid::from_u128(0x6f1c_2a34_5b6d_4e7f_8a9b_0c1d_2e3f_4a5b);

static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());

fuzz_target!(|bytes: &[u8]| {
    let store = SessionStore::new(FOLDER.path());
    std::fs::write(store.path(ID), bytes).unwrap();
    match store.read(ID) {
        Ok(session) => {
            assert_eq!((session.session_id, session.version), (ID, 1));
            store.write(&session).unwrap();
            assert_eq!(store.read(ID).unwrap(), session);
        }
        Err(error) => {
            assert_eq!(error.kind, Kind::Session);
            assert_clean(&error);
            // A reason and a place, and nothing of what stands there.
            assert!(error.message.len() < 400, "{error}");
        }
    }
    // A damaged file is listed too, and goes away with age.
    let listed = store.list().unwrap();
    assert!(listed.iter().any(|listed| listed.id == ID));
    let _ = store.prune(Duration::from_secs(60), SystemTime::now()).unwrap();
});
