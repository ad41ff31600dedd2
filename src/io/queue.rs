//! Bounded queues between cores. A sender wakes the receiver only if that one announced that it sleeps, so that a busy
//! receiver costs nobody a system call.

use super::Waker;
use crossbeam::queue::ArrayQueue;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

struct Shared<T> {
    queue: ArrayQueue<T>,
    is_asleep: AtomicBool,
    /// The receiver has ended.
    is_gone: AtomicBool,
    waker: Arc<dyn Waker>,
}

/// The sending end; any thread may hold a clone.
pub struct Sender<T>(Arc<Shared<T>>);

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        Sender(Arc::clone(&self.0))
    }
}

/// The receiving end; belongs to one core.
pub struct Receiver<T>(Arc<Shared<T>>);

/// A queue for `capacity` messages whose receiver is woken by `waker`.
pub fn mailbox<T>(capacity: usize, waker: Arc<dyn Waker>) -> (Sender<T>, Receiver<T>) {
    let shared = Shared {
        queue: ArrayQueue::new(capacity),
        is_asleep: AtomicBool::new(false),
        is_gone: AtomicBool::new(false),
        waker,
    };
    let shared = Arc::new(shared);
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

impl<T> Sender<T> {
    /// Queues a message; gives it back if the queue is full. A receiver that has ended takes everything and drops it.
    pub fn send(&self, message: T) -> Result<(), T> {
        self.send_quietly(message)?;
        self.wake();
        Ok(())
    }

    /// The same without waking the receiver, which looks by itself in time, or is woken later.
    pub fn send_quietly(&self, message: T) -> Result<(), T> {
        match self.0.queue.push(message) {
            Err(message) if !self.0.is_gone.load(Ordering::Acquire) => Err(message),
            _ => Ok(()),
        }
    }

    /// Wakes the receiver if it sleeps: at most one system call per announced sleep.
    pub fn wake(&self) {
        // Pairs with the fence in `announce_sleep`: either the receiver sees the message, or this sees the flag.
        fence(Ordering::SeqCst);
        if self.0.is_asleep.load(Ordering::Relaxed) && self.0.is_asleep.swap(false, Ordering::Relaxed) {
            self.0.waker.wake();
        }
    }
}

impl<T> Receiver<T> {
    /// The oldest message.
    pub fn pop(&self) -> Option<T> {
        self.0.queue.pop()
    }

    /// Says that the receiver is about to sleep. `false`: a message is waiting, do not sleep.
    pub fn announce_sleep(&self) -> bool {
        self.0.is_asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.0.queue.is_empty() {
            return true;
        }
        self.0.is_asleep.store(false, Ordering::Relaxed);
        false
    }

    /// The receiver is awake again.
    pub fn awake(&self) {
        self.0.is_asleep.store(false, Ordering::Relaxed);
    }

    /// Messages waiting.
    pub fn len(&self) -> usize {
        self.0.queue.len()
    }

    /// True if no message waits.
    pub fn is_empty(&self) -> bool {
        self.0.queue.is_empty()
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.is_gone.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Waker for Count {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn only_an_announced_sleeper_is_woken_and_only_once() {
        let count = Arc::new(Count::default());
        let (sender, receiver) = mailbox(4, Arc::clone(&count) as Arc<dyn Waker>);
        sender.send(1).expect("room");
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        assert!(!receiver.announce_sleep());
        assert_eq!(receiver.pop(), Some(1));
        assert!(receiver.announce_sleep());
        sender.send(2).expect("room");
        sender.send(3).expect("room");
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_full_queue_gives_the_message_back() {
        let (sender, _receiver) = mailbox(1, Arc::new(Count::default()) as Arc<dyn Waker>);
        assert_eq!(sender.send(1), Ok(()));
        assert_eq!(sender.send(2), Err(2));
    }

    #[test]
    fn nobody_waits_for_a_receiver_that_has_ended() {
        let (sender, receiver) = mailbox(1, Arc::new(Count::default()) as Arc<dyn Waker>);
        drop(receiver);
        for message in 0..3 {
            assert_eq!(sender.send(message), Ok(()));
        }
    }
}
