//! The bytes of one file in shared pages: a copy costs a count for each page, and a write only the page that it touches.

use std::sync::{Arc, LazyLock};

/// What a file holds.
#[derive(Clone, Default)]
pub(crate) struct Content {
    pages: Vec<Arc<Page>>,
    len: usize,
}

/// As large as a page of SQLite and of the kernel.
type Page = [u8; PAGE_LEN];

impl Content {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many of the bytes from `offset` on there were to fill `out` with.
    pub(crate) fn read(&self, offset: usize, out: &mut [u8]) -> usize {
        let wanted = out.len().min(self.len.saturating_sub(offset));
        let (mut done, mut at) = (0, offset);
        while done < wanted {
            let (page, within) = (at / PAGE_LEN, at % PAGE_LEN);
            let step = (PAGE_LEN - within).min(wanted - done);
            out[done..done + step].copy_from_slice(&self.pages[page][within..within + step]);
            done += step;
            at += step;
        }
        wanted
    }

    pub(crate) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        self.read(0, &mut bytes);
        bytes
    }

    /// Writes; what lies between the end and `offset` becomes zeros.
    pub(crate) fn write(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.grow(offset + bytes.len());
        let (mut done, mut at) = (0, offset);
        while done < bytes.len() {
            let (page, within) = (at / PAGE_LEN, at % PAGE_LEN);
            let step = (PAGE_LEN - within).min(bytes.len() - done);
            let part = &bytes[done..done + step];
            if let Ok(whole) = <&Page>::try_from(part) {
                self.pages[page] = Arc::new(*whole);
            } else {
                Arc::make_mut(&mut self.pages[page])[within..within + step].copy_from_slice(part);
            }
            done += step;
            at += step;
        }
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        if len >= self.len {
            self.grow(len);
            return;
        }
        self.pages.truncate(len.div_ceil(PAGE_LEN));
        self.len = len;
        // A file that grows again must read as zeros from here on.
        if !len.is_multiple_of(PAGE_LEN)
            && let Some(last) = self.pages.last_mut()
        {
            Arc::make_mut(last)[len % PAGE_LEN..].fill(0);
        }
    }

    /// Whether both hold the same bytes.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        let equal = |(mine, theirs): (&Arc<Page>, &Arc<Page>)| Arc::ptr_eq(mine, theirs) || mine == theirs;
        self.len == other.len && self.pages.iter().zip(&other.pages).all(equal)
    }

    fn grow(&mut self, len: usize) {
        if len > self.len {
            self.pages.resize_with(len.div_ceil(PAGE_LEN), || Arc::clone(&ZEROS));
            self.len = len;
        }
    }
}

const PAGE_LEN: usize = 4096;
static ZEROS: LazyLock<Arc<Page>> = LazyLock::new(|| Arc::new([0; PAGE_LEN]));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn content_behaves_as_a_vector_of_bytes_does() {
        let mut rng = Rng::new(1);
        let (mut content, mut model) = (Content::default(), Vec::new());
        for _ in 0..2000 {
            let copy = content.clone();
            let before = model.clone();
            let offset = usize::try_from(rng.below(20_000)).unwrap();
            if rng.one_in(4) {
                content.truncate(offset);
                model.resize(offset, 0);
            } else {
                let len = if rng.one_in(3) { 4096 } else { usize::try_from(rng.below(9000)).unwrap() };
                let bytes = vec![u8::try_from(rng.below(256)).unwrap(); len];
                content.write(offset, &bytes);
                if len > 0 {
                    model.resize(model.len().max(offset + len), 0);
                }
                model[offset..offset + len].copy_from_slice(&bytes);
            }
            assert_eq!(content.to_vec(), model);
            assert_eq!(copy.to_vec(), before, "a write went through to a copy");
            assert_eq!(content.same_as(&copy), before == model);
        }
    }
}
