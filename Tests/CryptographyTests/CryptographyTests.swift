import Testing

@testable import Cryptography

private func octets(_ hex: String) -> [UInt8] {
    let digits = hex.utf8.compactMap { Character(Unicode.Scalar($0)).hexDigitValue }
    return stride(from: 0, to: digits.count - 1, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
}

@Suite struct CryptographyTests {
    @Test(arguments: [
        (HashFunction.sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
        (.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    ])
    func digestsOfAbc(function: HashFunction, expected: String) {
        #expect(function.digest(of: Array("abc".utf8)) == octets(expected))
        var digest = Digest(function)
        digest.update("a".utf8)
        digest.update(Array("bc".utf8))
        #expect(digest.finalize() == octets(expected))
        digest.update("abc".utf8)
        #expect(digest.finalize() == octets(expected))
    }

    /// RFC 4231 section 4.3.
    @Test func authenticationCode() {
        let code = MessageAuthentication.code(
            of: Array("what do ya want for nothing?".utf8),
            key: Array("Jefe".utf8),
            using: .sha256
        )
        #expect(code == octets("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"))
        #expect(MessageAuthentication.areEqual(code, code))
        #expect(!MessageAuthentication.areEqual(code, Array(code.dropLast())))
        #expect(MessageAuthentication.code(of: [1], key: [], using: .sha1).count == 20)
    }

    @Test(arguments: [KeyKind.rsa, .ecdsaP256, .ecdsaP384, .ed25519, .ed448])
    func roundTrip(kind: KeyKind) throws {
        let function: HashFunction? = kind == .ed25519 || kind == .ed448 ? nil : .sha256
        let key = try #require(PrivateKey.generate(kind))
        let again = try #require(PrivateKey(pem: key.pem))
        let message = Array("message".utf8)
        var signature = again.signature(of: message, using: function)
        let published = try #require(key.publicKey)
        let numbers = published.rsaNumbers
        let verifier = try #require(
            numbers.map { PublicKey(rsaModulus: $0.modulus, exponent: $0.exponent) }
                ?? PublicKey(kind, raw: published.raw)
        )
        #expect(verifier.isValid(signature: signature, of: message, using: function))
        #expect(verifier.subjectPublicKeyInfo == published.subjectPublicKeyInfo)
        #expect(PublicKey(subjectPublicKeyInfo: published.subjectPublicKeyInfo)?.kind == kind)
        #expect(!verifier.isValid(signature: signature, of: message + [0], using: function))
        signature[3] ^= 1
        #expect(!verifier.isValid(signature: signature, of: message, using: function))
        #expect(!verifier.isValid(signature: [], of: message, using: function))
    }

    /// Both forms that domains publish; of other kinds, and with something behind them, there are none.
    @Test func numbersOfRSAKeys() throws {
        let key = try #require(PrivateKey.generate(.rsa)?.publicKey)
        let numbers = try #require(PublicKey.rsaNumbers(of: key.subjectPublicKeyInfo))
        #expect(numbers.modulus.count * 8 == key.bits)
        #expect(numbers.exponent == [1, 0, 1])
        #expect(PublicKey.rsaNumbers(of: key.raw)?.modulus == numbers.modulus)
        for octets in [key.subjectPublicKeyInfo, key.raw] {
            #expect(PublicKey.rsaNumbers(of: octets + [0]) == nil)
            #expect(PublicKey.rsaNumbers(of: Array(octets.dropLast())) == nil)
            for length in 0..<octets.count { #expect(PublicKey.rsaNumbers(of: Array(octets.prefix(length))) == nil) }
        }
        let other = try #require(PrivateKey.generate(.ecdsaP256)?.publicKey)
        #expect(PublicKey.rsaNumbers(of: other.subjectPublicKeyInfo) == nil)
    }

    /// RFC 8032 section 7.1, test 2.
    @Test func ed25519Vector() throws {
        let secret = octets("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
        let key = try #require(PrivateKey(.ed25519, raw: secret))
        #expect(
            key.publicKey?.raw == octets("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
        )
        let signature = octets(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        )
        #expect(key.signature(of: [0x72], using: nil) == signature)
    }

    @Test func rubbishIsNoKey() {
        #expect(PublicKey(.ecdsaP256, raw: [UInt8](repeating: 1, count: 64)) == nil)
        #expect(PublicKey(.ecdsaP256, raw: []) == nil)
        #expect(PublicKey(.ed25519, raw: [1, 2, 3]) == nil)
        #expect(PublicKey(rsaModulus: [UInt8](repeating: 0xff, count: 513), exponent: [1, 0, 1]) == nil)
        #expect(PublicKey(subjectPublicKeyInfo: [0x30, 0x84, 0xff, 0xff, 0xff, 0xff]) == nil)
        for octets: [UInt8] in [[], [0x30], [0x30, 0], [0x30, 2, 0x02, 0], [0x30, 4, 0x02, 2, 1, 1]] {
            #expect(PublicKey.rsaNumbers(of: octets) == nil, "\(octets)")
        }
        #expect(PrivateKey(pem: Array("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".utf8)) == nil)
    }
}
