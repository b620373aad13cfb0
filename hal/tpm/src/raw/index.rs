//! NV indices.

use tss_esapi::tss2_esys::{
    ESYS_TR_NONE, ESYS_TR_RH_OWNER, Esys_NV_DefineSpace, Esys_NV_Increment, Esys_NV_Read, Esys_NV_ReadPublic,
    Esys_TR_FromTPMPublic, TPM2B_AUTH, TPM2B_MAX_NV_BUFFER, TPM2B_NAME, TPM2B_NV_PUBLIC, TPMS_NV_PUBLIC,
};

use super::answer::{Answer, sized};
use super::object::ALG_SHA256;
use super::{Esys, Index, Session};
use crate::failure::Failure;

impl Esys {
    /// Looks for an index. The stack asks for its public area, which no HMAC covers yet: see [`Esys::index_name`].
    pub(crate) fn find_index(&self, index: u32) -> Result<Index<'_>, Failure> {
        let mut handle = ESYS_TR_NONE;
        // SAFETY: the context is live, and `handle` takes a handle.
        let code = unsafe {
            Esys_TR_FromTPMPublic(self.context(), index, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &raw mut handle)
        };
        self.check(FIND, code)?;
        Ok(Index { esys: self, handle })
    }

    /// The Name of an index as it is now.
    pub(crate) fn index_name(&self, session: &Session<'_>, index: &Index<'_>) -> Result<Vec<u8>, Failure> {
        let (_, name) = self.index_public(session, index)?;
        let name: &TPM2B_NAME = name.get(FIND)?;
        Ok(sized(&name.name, name.size).to_vec())
    }

    /// How many bytes an index has.
    pub(crate) fn index_len(&self, session: &Session<'_>, index: &Index<'_>) -> Result<u16, Failure> {
        let (public, _) = self.index_public(session, index)?;
        Ok(public.get(FIND)?.nvPublic.dataSize)
    }

    fn index_public(
        &self,
        session: &Session<'_>,
        index: &Index<'_>,
    ) -> Result<(Answer<TPM2B_NV_PUBLIC>, Answer<TPM2B_NAME>), Failure> {
        let (mut public, mut name) = (Answer::none(), Answer::none());
        // SAFETY: the context is live, and the slots take one structure each.
        let code = unsafe {
            Esys_NV_ReadPublic(
                self.context(),
                index.handle,
                session.handle,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                public.slot(),
                name.slot(),
            )
        };
        self.check(FIND, code)?;
        Ok((public, name))
    }

    /// Defines an index of 8 bytes for the owner, with an empty password and without a policy.
    pub(crate) fn define_index(
        &self,
        session: &Session<'_>,
        index: u32,
        attributes: u32,
    ) -> Result<Index<'_>, Failure> {
        let public = TPMS_NV_PUBLIC {
            nvIndex: index,
            nameAlg: ALG_SHA256,
            attributes,
            dataSize: NUMBER_LEN,
            ..Default::default()
        };
        let public = TPM2B_NV_PUBLIC { size: 0, nvPublic: public };
        let (password, mut handle) = (TPM2B_AUTH::default(), ESYS_TR_NONE);
        // SAFETY: the context and what is pointed to are live, and `handle` takes a handle.
        let code = unsafe {
            Esys_NV_DefineSpace(
                self.context(),
                ESYS_TR_RH_OWNER,
                session.handle,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                &raw const password,
                &raw const public,
                &raw mut handle,
            )
        };
        self.check(DEFINE, code)?;
        Ok(Index { esys: self, handle })
    }

    /// Adds one to a counter.
    pub(crate) fn increment(&self, session: &Session<'_>, index: &Index<'_>) -> Result<(), Failure> {
        // SAFETY: the context is live; the stack looks the handles up.
        let code = unsafe {
            Esys_NV_Increment(self.context(), index.handle, index.handle, session.handle, ESYS_TR_NONE, ESYS_TR_NONE)
        };
        self.check(INCREMENT, code)
    }

    /// The 8 bytes of an index as a number; nothing when the answer has another length.
    pub(crate) fn read_number(&self, session: &Session<'_>, index: &Index<'_>) -> Result<Option<u64>, Failure> {
        let data = self.read_part(session, index, 0, NUMBER_LEN)?;
        Ok(data[..].try_into().ok().map(u64::from_be_bytes))
    }

    /// Some bytes of an index that has an empty password.
    pub(crate) fn read_part(
        &self,
        session: &Session<'_>,
        index: &Index<'_>,
        offset: u16,
        len: u16,
    ) -> Result<Vec<u8>, Failure> {
        let mut data = Answer::<TPM2B_MAX_NV_BUFFER>::none();
        // SAFETY: the context is live, and the slot takes one buffer.
        let code = unsafe {
            Esys_NV_Read(
                self.context(),
                index.handle,
                index.handle,
                session.handle,
                ESYS_TR_NONE,
                ESYS_TR_NONE,
                len,
                offset,
                data.slot(),
            )
        };
        self.check(READ, code)?;
        let data = data.get(READ)?;
        Ok(sized(&data.buffer, data.size).to_vec())
    }
}

const DEFINE: &str = "define the counter";
const FIND: &str = "look at an index";
const INCREMENT: &str = "increment the counter";
const READ: &str = "read an index";
const NUMBER_LEN: u16 = 8;
