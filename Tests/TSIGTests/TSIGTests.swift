import Cryptography
import DNS
import Testing

@testable import TSIG

private let signedAt: UInt64 = 1_700_000_000
private let secret = [UInt8](0..<32)

func octets(_ hexadecimal: String) -> [UInt8] {
    let digits = hexadecimal.compactMap(\.hexDigitValue).map(UInt8.init)
    return stride(from: 0, to: digits.count - 1, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
}

private func makeKey(
    _ name: String = "key.example",
    _ algorithm: TSIGAlgorithm = .hmacSHA256,
    codeLength: Int? = nil
) throws -> TSIGKey {
    TSIGKey(name: try DomainName(name), algorithm: algorithm, secret: secret, codeLength: codeLength)
}

func query(_ name: String = "www.example.test") throws -> DNSMessage {
    var flags = MessageFlags(rawValue: 0)
    flags.recursionDesired = true
    return DNSMessage(id: 0x1234, flags: flags, questions: [Question(name: try DomainName(name), type: .a)])
}

/// What dnspython 2.3 makes of the same question and answer with the same key and time: its name for the algorithm, its
/// request and its answer.
private let foreign: [(algorithm: TSIGAlgorithm, requestCode: String, answerCode: String)] = [
    (
        .hmacSHA256, "8176e3d95e0a90a61acaad394bc3df68a0ca1a18d984e9bae3ef203424ca1054",
        "a1acce5b4deaf8c6b1de4035d9abf9d9fe8a8746de9dcb34817a0ee87df95e93"
    ),
    (
        .hmacSHA384,
        "2e6f4345d2a8a952e28e4824dc65e7243e429d0707312b41e82e34a9252e1fe7c1db784564b3da5de0dc33a634f855ce",
        "711a11b1a2d4d57adf2f563ddb98cf97052c04bea99ad911d881619ca1e1948ecb720f0db5ca4a40bf4e637e543ee160"
    ),
    (
        .hmacSHA512,
        "66c2956a75031606ddcac25cdd16dc692cf30d36155ce3820b0430a646e96ac5420cdf9a93d7dd5e098240bf500d0704"
            + "2946211dca3414241a3cfc0280d2a1f2",
        "211ca3f8361e4299668228b68880530939f0c753fea2823c27028d0442f2722da6eb0786688c6fdddbdfa9f6378056e0"
            + "d55c874caf36ca998842c1ae13f52f01"
    ),
]

struct TSIGTests {
    private func verify(_ octets: [UInt8], _ key: TSIGKey, now: UInt64 = signedAt) -> TSIGVerification {
        TSIGVerification.verify(octets, keys: [key.name: key], now: now)
    }

    /// The TSIG error that the server answers with, and its answer; nil where it answers otherwise.
    private func refusal(_ verification: TSIGVerification) throws -> (TSIGRecord, octets: [UInt8])? {
        guard case .refused(var signer) = verification else { return nil }
        let answer = signer.sign(try query().response(.notAuthoritative).encode(), now: signedAt)
        return (try #require(try TSIGMessage.split(answer)).record, answer)
    }

    private func signed(_ key: TSIGKey, now: UInt64 = signedAt) throws -> [UInt8] {
        var signer = TSIGSigner(requestWith: key)
        return signer.sign(try query().encode(), now: now)
    }

    @Test(arguments: foreign.indices)
    func codesAreThoseOfOthers(index: Int) throws {
        let foreign = foreign[index]
        let key = try makeKey("Key.Example", foreign.algorithm)
        var request = TSIGSigner(requestWith: key)
        let octets = request.sign(try query().encode(), now: signedAt)
        #expect(request.lastCode == TSIGTests.hex(foreign.requestCode))
        guard case .signed(var signer) = verify(octets, key) else {
            Issue.record("not verified")
            return
        }
        #expect(signer.signer == key.name)
        var answer = try query().response()
        answer.answers = [
            try ResourceRecord(
                name: DomainName("www.example.test"),
                type: .a,
                timeToLive: 300,
                wireData: [192, 0, 2, 1]
            )
        ]
        let reply = signer.sign(answer.encode(), now: signedAt)
        #expect(signer.lastCode == TSIGTests.hex(foreign.answerCode))
        var verifier = TSIGVerifier(key: key, requestCode: request.lastCode)
        #expect(try verifier.verify(reply, now: signedAt) == answer.encode())
        #expect(verifier.isComplete)
        #expect(try DNSMessage(decoding: reply).additionals.count == 1)
    }

    private static func hex(_ text: String) -> [UInt8] { octets(text) }

    /// A stream of three answers to AXFR that dnspython signed.
    @Test func streamOfOthers() throws {
        let tail = "c00c000100010000012c0004c0000201034b6579074578616d706c650000fa00ff00000000003d"
        let middle = "0b686d61632d7368613235360000006553f100012c0020"
        let codes = [
            "371eda99b18b3927c724d539536ceca656e0d4cd12a52a4a19c4447366afd628",
            "364b2503db3b5ed1ea60a16ac5420f24daa6c3ec576b0a8e79e634c9954a5c67",
            "26ec804129aa48e07364e4ebfe20bb9e8bc6a33e3f675b6900f5a42a10cdc8f4",
        ]
        let key = try makeKey()
        let requestCode = octets("059b7e18ed858c74944dc84e0441cfd3d8d9a76996cf30332d601487c452b8c9")
        var verifier = TSIGVerifier(key: key, requestCode: requestCode)
        for (index, code) in codes.enumerated() {
            let start = "123481000001000100000001076578616d706c6504746573740000fc00010268"
            let message = octets("\(start)3\(index)\(tail)\(middle)\(code)123400000000")
            let plain = try verifier.verify(message, now: signedAt)
            #expect(try DNSMessage(decoding: plain).additionals.isEmpty)
        }
        #expect(verifier.isComplete)
    }

    @Test func nothingButTheKeyHoldersOctetsPass() throws {
        let key = try makeKey()
        let request = try signed(key)
        for index in request.indices {
            var changed = request
            changed[index] ^= 0x04
            if case .signed = verify(changed, key) {
                // Without a code on it: the ID in the header, of which the original stands in the record.
                #expect(index < 2)
            }
        }
        #expect(try refusal(verify(request, try makeKey("other.example")))?.0.error == 17)
        #expect(try refusal(verify(request, try makeKey("key.example", .hmacSHA512)))?.0.error == 17)
        let other = TSIGKey(name: key.name, algorithm: .hmacSHA256, secret: [UInt8](repeating: 7, count: 32))
        let (record, octets) = try #require(try refusal(verify(request, other)))
        #expect(record.error == 16)
        #expect(record.code.isEmpty)
        var verifier = TSIGVerifier(key: key, requestCode: [])
        #expect(throws: TSIGVerifier.Fault.refused(16, serverTime: nil)) {
            try verifier.verify(octets, now: signedAt)
        }
    }

    @Test func timeMustAgree() throws {
        let key = try makeKey()
        var signer = TSIGSigner(requestWith: key)
        let request = signer.sign(try query().encode(), now: signedAt)
        for now in [signedAt - 300, signedAt + 300] {
            guard case .signed = verify(request, key, now: now) else {
                Issue.record("refused at \(now)")
                return
            }
        }
        for now in [signedAt - 301, signedAt + 301, 0] {
            let (record, octets) = try #require(try refusal(verify(request, key, now: now)))
            #expect(record.error == 18)
            #expect(record.timeSigned == signedAt)
            #expect(record.serverTime == now)
            var verifier = TSIGVerifier(key: key, requestCode: signer.lastCode)
            #expect(throws: TSIGVerifier.Fault.refused(18, serverTime: now)) {
                try verifier.verify(octets, now: signedAt)
            }
        }
    }

    @Test func truncatedCodes() throws {
        let whole = try makeKey()
        let short = try makeKey(codeLength: 16)
        let request = try signed(short)
        #expect(try TSIGMessage.split(request)?.record.code.count == 16)
        guard case .signed(var signer) = verify(request, short) else {
            Issue.record("not verified")
            return
        }
        _ = signer.sign(try query().response().encode(), now: signedAt)
        #expect(signer.lastCode.count == 16)
        // A key that demands whole codes.
        let (record, _) = try #require(try refusal(verify(request, whole)))
        #expect(record.error == 22)
        #expect(record.code.count == 32)
        // A key that demands less takes a whole one.
        guard case .signed = verify(try signed(whole), short) else {
            Issue.record("not verified")
            return
        }
        // Fewer than half of the octets, or more than all, are an error of form.
        let split = try #require(try TSIGMessage.split(try signed(whole)))
        for length in [0, 1, 9, 15, 33] {
            var record = split.record
            record.code = Array((record.code + [0]).prefix(length))
            guard case .malformed = verify(TSIGMessage.join(split.unsigned, record), whole) else {
                Issue.record("\(length) octets")
                return
            }
        }
    }

    @Test func originalIDIsWhatWasSigned() throws {
        let key = try makeKey()
        var request = try signed(key)
        request[0] = 0x77
        guard case .signed(var signer) = verify(request, key) else {
            Issue.record("not verified")
            return
        }
        var answer = try query().response()
        answer.id = 0x7734
        let reply = signer.sign(answer.encode(), now: signedAt)
        #expect(try TSIGMessage.split(reply)?.record.originalID == 0x7734)
    }

    @Test func malformedRecords() throws {
        let key = try makeKey()
        let request = try signed(key)
        let split = try #require(try TSIGMessage.split(request))
        let twice = TSIGMessage.join(TSIGMessage.join(split.unsigned, split.record), split.record)
        #expect(throws: TSIGMessage.Fault.misplaced) { try TSIGMessage.split(twice) }
        var message = try DNSMessage(decoding: request)
        let record = try #require(message.additionals.first)
        message.additionals = [record, try ResourceRecord(name: .root, type: .txt, timeToLive: 0, wireData: [0])]
        #expect(throws: TSIGMessage.Fault.misplaced) { try TSIGMessage.split(message.encode()) }
        message.answers = [record]
        message.additionals = []
        #expect(throws: TSIGMessage.Fault.misplaced) { try TSIGMessage.split(message.encode()) }
        message.answers = []
        for data in [[], Array(record.data.dropLast()), record.data + [0], [0xC0, 0x0C] + record.data] {
            message.additionals = [
                try ResourceRecord(name: record.name, type: .tsig, class: .any, timeToLive: 0, wireData: data)
            ]
            #expect(throws: TSIGMessage.Fault.self) { try TSIGMessage.split(message.encode()) }
        }
        message.additionals = [
            try ResourceRecord(name: record.name, type: .tsig, timeToLive: 0, wireData: record.data)
        ]
        #expect(throws: TSIGMessage.Fault.record) { try TSIGMessage.split(message.encode()) }
        #expect(try TSIGMessage.split(query().encode()) == nil)
        for count in request.indices {
            #expect(throws: TSIGMessage.Fault.self) { try TSIGMessage.split(Array(request[..<count])) }
        }
    }

    @Test func streams() throws {
        let key = try makeKey()
        for interval in [1, 3, 1000] {
            var request = TSIGSigner(requestWith: key)
            guard case .signed(var signer) = verify(request.sign(try query().encode(), now: signedAt), key) else {
                Issue.record("not verified")
                return
            }
            var verifier = TSIGVerifier(key: key, requestCode: request.lastCode)
            var signatures = 0
            for index in 0..<250 {
                let answer = try query("h\(index).example.test").response().encode()
                let octets = signer.signInStream(answer, isLast: index == 249, every: interval, now: signedAt)
                #expect(try verifier.verify(octets, now: signedAt) == answer)
                if octets != answer { signatures += 1 }
            }
            #expect(verifier.isComplete)
            #expect(signatures == [1: 250, 3: 84, 1000: 4][interval])
        }
    }

    @Test func holesInStreamsAreNoticed() throws {
        let key = try makeKey()
        var request = TSIGSigner(requestWith: key)
        guard case .signed(let signer) = verify(request.sign(try query().encode(), now: signedAt), key) else {
            Issue.record("not verified")
            return
        }
        var stream = signer
        let answers = try (0..<10).map { try query("h\($0).example.test").response().encode() }
        let octets = answers.enumerated().map {
            stream.signInStream($1, isLast: $0 == 9, every: 3, now: signedAt)
        }
        // One is left out, a signed or an unsigned one.
        for missing in 0..<9 {
            var verifier = TSIGVerifier(key: key, requestCode: request.lastCode)
            var rest = octets
            rest.remove(at: missing)
            #expect(throws: TSIGVerifier.Fault.self) {
                for octets in rest { _ = try verifier.verify(octets, now: signedAt) }
            }
        }
        var cut = TSIGVerifier(key: key, requestCode: request.lastCode)
        for octets in octets.dropLast() { _ = try cut.verify(octets, now: signedAt) }
        #expect(!cut.isComplete)
        // More than 99 without a signature.
        var long = TSIGVerifier(key: key, requestCode: request.lastCode)
        _ = try long.verify(octets[0], now: signedAt)
        for _ in 0..<99 { _ = try long.verify(answers[1], now: signedAt) }
        #expect(throws: TSIGVerifier.Fault.unsigned) { try long.verify(answers[1], now: signedAt) }
        var first = TSIGVerifier(key: key, requestCode: request.lastCode)
        #expect(throws: TSIGVerifier.Fault.unsigned) { try first.verify(answers[0], now: signedAt) }
    }

    @Test func overheadIsEnough() throws {
        for algorithm in TSIGAlgorithm.allCases {
            var signer = TSIGSigner(requestWith: try makeKey("a.rather.long.name.for.a.key.example", algorithm))
            let message = try query().encode()
            #expect(signer.sign(message, now: signedAt).count - message.count <= signer.overhead)
        }
    }

    @Test func answersAreNotBelievedWithoutReason() throws {
        let key = try makeKey()
        var request = TSIGSigner(requestWith: key)
        guard case .signed(let signer) = verify(request.sign(try query().encode(), now: signedAt), key) else {
            Issue.record("not verified")
            return
        }
        var copy = signer
        let answer = copy.sign(try query().response().encode(), now: signedAt)
        var late = TSIGVerifier(key: key, requestCode: request.lastCode)
        #expect(throws: TSIGVerifier.Fault.badTime) { try late.verify(answer, now: signedAt + 301) }
        var other = TSIGVerifier(key: try makeKey("other.example"), requestCode: request.lastCode)
        #expect(throws: TSIGVerifier.Fault.otherKey) { try other.verify(answer, now: signedAt) }
        // An answer to another request.
        var elsewhere = TSIGVerifier(key: key, requestCode: [UInt8](repeating: 1, count: 32))
        #expect(throws: TSIGVerifier.Fault.badSignature) { try elsewhere.verify(answer, now: signedAt) }
    }
}

struct TSIGKeyTests {
    @Test(arguments: [
        ("hmac-sha256 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n", TSIGAlgorithm.hmacSHA256, 32),
        ("# for dyn\n\n  HMAC-SHA512\tAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= \r\n", .hmacSHA512, 64),
        ("hmac-sha384-192 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", .hmacSHA384, 24),
    ])
    func files(text: String, algorithm: TSIGAlgorithm, codeLength: Int) throws {
        let key = try TSIGKey(name: try DomainName("k"), text: text)
        #expect(key.algorithm == algorithm)
        #expect(key.codeLength == codeLength)
        #expect(key.secret == secret)
    }

    @Test(arguments: [
        ("", TSIGKey.TextError.form),
        ("hmac-sha256", .form),
        ("hmac-sha256 AAAA AAAA", .form),
        ("hmac-sha256 AAAA\nhmac-sha256 AAAA", .form),
        ("hmac-md5 AAAA", .unknownAlgorithm("hmac-md5")),
        ("hmac-sha256-64 AAAA", .unknownAlgorithm("hmac-sha256-64")),
        ("hmac-sha256-512 AAAA", .unknownAlgorithm("hmac-sha256-512")),
        ("hmac-sha256x AAAA", .unknownAlgorithm("hmac-sha256x")),
        ("hmac-sha256 AA!A", .encoding),
        ("hmac-sha256 AAAA", .shortSecret),
    ])
    func wrongFiles(text: String, error: TSIGKey.TextError) throws {
        #expect(throws: error) { try TSIGKey(name: try DomainName("k"), text: text) }
    }

    @Test func secretsAreNotPrinted() throws {
        #expect("\(try makeKey())" == "key.example. hmac-sha256")
    }
}
