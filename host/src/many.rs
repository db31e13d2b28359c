//! One thing done with each of many, on all processors at once.

use std::sync::{LazyLock, Mutex, PoisonError};

/// From so many on, a thread costs less than it saves.
pub(crate) const MANY: usize = 16;

/// How many processors this process may use. Asked once: the system reads several files to answer.
pub(crate) fn processors() -> usize {
    static PROCESSORS: LazyLock<usize> = LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));
    *PROCESSORS
}

/// What `act` gives for each of `all`, in their order.
///
/// # Panics
/// Where `act` does.
pub(crate) fn each<T: Send, R: Send>(all: Vec<T>, act: impl Fn(T) -> R + Sync) -> Vec<R> {
    if all.len() < MANY {
        return all.into_iter().map(act).collect();
    }
    let waiting = Mutex::new(all.into_iter().enumerate());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        let mut done = Vec::new();
        while let Some((place, one)) = next() {
            done.push((place, act(one)));
        }
        done
    };
    let mut done = std::thread::scope(|scope| {
        // Where there is no thread to be had, this one does it all.
        let others: Vec<_> = (1..processors()).filter_map(|_| std::thread::Builder::new().spawn_scoped(scope, work).ok()).collect();
        let mut done = work();
        for other in others {
            done.append(&mut other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        done
    });
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, given)| given).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_few_and_of_many_is_done_once_and_in_order() {
        for many in [0, 1, MANY - 1, MANY, 1000] {
            let done = Mutex::new(Vec::new());
            let given = each((0..many).collect(), |one| {
                done.lock().unwrap().push(one);
                one * 2
            });
            assert_eq!(given, (0..many).map(|one| one * 2).collect::<Vec<_>>());
            let mut done = done.into_inner().unwrap();
            done.sort_unstable();
            assert_eq!(done, (0..many).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_panic_in_one_is_a_panic_of_all() {
        let ended = std::panic::catch_unwind(|| each((0..100).collect(), |one: i32| assert!(one != 70, "the seventieth")));
        assert!(ended.is_err());
    }
}
