import Authority
import Testing

@Suite struct PasswordHashTests {
    @Test func ownHashesVerify() throws {
        let hash = try #require(PasswordHash.make("correct horse"))
        #expect(hash.hasPrefix("$argon2id$"))
        #expect(PasswordHash.verify("correct horse", hash))
        #expect(!PasswordHash.verify("correct hors", hash))
        #expect(PasswordHash.make("correct horse") != hash)
    }

    // SHA-512-crypt: a vector of Ulrich Drepper's specification; bcrypt: one of Openwall's crypt_blowfish.
    @Test(arguments: [
        (
            "Hello world!",
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQ"
                + "JuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
        ),
        ("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
        ("U*U", "{BLF-CRYPT}$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
    ])
    func knownVectorsVerify(password: String, hash: String) {
        #expect(PasswordHash.verify(password, hash))
        #expect(!PasswordHash.verify(password + "x", hash))
    }

    @Test(arguments: [
        "", "!", "!$6$saltstring$x", "*0", "plain", "$1$old$hash", "$argon2id$rubbish", "$6$", "$2b$99$x",
    ])
    func othersNeverVerify(hash: String) {
        #expect(!PasswordHash.verify("", hash))
        #expect(!PasswordHash.verify("*0", hash))
        #expect(!PasswordHash.verify("plain", hash))
    }

    @Test func longAndNULPasswordsAreRefused() {
        #expect(PasswordHash.make(String(repeating: "x", count: 2000)) == nil)
        #expect(!PasswordHash.verify("U*U\0x", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"))
    }
}
