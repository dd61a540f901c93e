import COpenSSL
import CertificateMaker
import Cryptography
import NIOCore
import NIOEmbedded
import Testing

@testable import TLS

#if canImport(Glibc)
import Glibc
#endif

/// Somebody who has keys, and answers when the test says.
private final class Signer: TLSKeys, @unchecked Sendable {
    // Unchecked: a test has one thread.
    enum Answer { case atOnce, later, never }

    let tickets = TLSTickets()
    var pairs: [(key: PrivateKey, shown: ShownCertificate)] = []
    var answer = Answer.atOnce
    var asked: [TLSSignatureRequest] = []
    var names: [String?] = []
    var waiting: EventLoopPromise<[UInt8]>?

    func add(_ kind: KeyKind, ocsp: [UInt8]? = nil) throws {
        let pair = TestPair(["mail.example.test"], kind)
        let key = try #require(PrivateKey(pem: pair.privateKey))
        let chain = try CertificateChain(pem: pair.certificate)
        pairs.append((key, try ShownCertificate(chain, key: "key-\(pairs.count)", ocsp: ocsp)))
    }

    func certificates(for serverName: String?, on loop: any EventLoop) -> EventLoopFuture<[ShownCertificate]> {
        names.append(serverName)
        return loop.makeSucceededFuture(pairs.map(\.shown))
    }

    func sign(_ request: TLSSignatureRequest, on loop: any EventLoop) -> EventLoopFuture<[UInt8]> {
        asked.append(request)
        let promise = loop.makePromise(of: [UInt8].self)
        switch answer {
        case .atOnce: promise.succeed(signature(request))
        case .later: waiting = promise
        case .never: promise.fail(TLSError.keys("away"))
        }
        return promise.futureResult
    }

    func signature(_ request: TLSSignatureRequest) -> [UInt8] {
        guard let number = Int(request.key.dropFirst(4)), pairs.indices.contains(number) else { return [] }
        let key = pairs[number].key
        let hash: HashFunction? =
            switch request.scheme {
            case 0x0804, 0x0401, 0x0403: .sha256
            case 0x0805, 0x0501, 0x0503: .sha384
            case 0x0806, 0x0601: .sha512
            default: nil
            }
        guard let hash else { return key.signature(of: request.octets, using: nil) }
        let isPSS = request.scheme >> 8 == 8
        return key.signature(ofDigest: hash.digest(of: request.octets), by: hash, padding: isPSS ? .pss : .pkcs1) ?? []
    }
}

/// Counts the reads that come through to the network's side.
private final class Reads: ChannelOutboundHandler, @unchecked Sendable {
    // Unchecked: a test has one thread.
    typealias OutboundIn = ByteBuffer
    var count = 0

    func read(context: ChannelHandlerContext) {
        count += 1
        context.read()
    }
}

/// OpenSSL's client, step by step.
private final class Client {
    let ssl: OpaquePointer
    private let context: OpaquePointer
    private let input: OpaquePointer
    private let output: OpaquePointer

    init(version: Int32, signatures: String? = nil, resuming session: OpaquePointer? = nil) throws {
        context = try #require(SSL_CTX_new(TLS_client_method()))
        SSL_CTX_ctrl(context, SSL_CTRL_SET_MAX_PROTO_VERSION, Int(version), nil)
        if let signatures { SSL_CTX_ctrl(context, SSL_CTRL_SET_SIGALGS_LIST, 0, strdup(signatures)) }
        ssl = try #require(SSL_new(context))
        input = try #require(BIO_new(BIO_s_mem()))
        output = try #require(BIO_new(BIO_s_mem()))
        _ = COpenSSL_mem_eof_return(input, -1)
        SSL_set_bio(ssl, input, output)
        _ = COpenSSL_set_server_name(ssl, "mail.example.test")
        SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_STATUS_REQ_TYPE, Int(TLSEXT_STATUSTYPE_ocsp), nil)
        if let session { SSL_set_session(ssl, session) }
        SSL_set_connect_state(ssl)
    }

    deinit {
        SSL_free(ssl)
        SSL_CTX_free(context)
    }

    /// Goes on until nothing moves any more.
    ///
    /// - Returns: whether the client's handshake is complete.
    func talk(to channel: EmbeddedChannel) throws -> Bool {
        for _ in 0..<20 {
            ERR_clear_error()
            let done = SSL_do_handshake(ssl) == 1
            if done {
                var octet: UInt8 = 0
                _ = SSL_read(ssl, &octet, 1)
            }
            var moved = false
            let pending = COpenSSL_pending(output)
            if pending > 0 {
                var octets = [UInt8](repeating: 0, count: pending)
                BIO_read(output, &octets, Int32(pending))
                _ = try? channel.writeInbound(ByteBuffer(bytes: octets))
                moved = true
            }
            while let sent = try channel.readOutbound(as: ByteBuffer.self) {
                let octets = Array(sent.readableBytesView)
                if !octets.isEmpty {
                    BIO_write(input, octets, Int32(octets.count))
                    moved = true
                }
            }
            if !moved { return done }
        }
        return false
    }
}

@Suite struct KeysElsewhereTests {
    private func server(
        _ signer: Signer,
        _ settings: TLSServerSettings = TLSServerSettings()
    ) throws -> (EmbeddedChannel, EventLoopFuture<TLSInfo>) {
        let channel = EmbeddedChannel()
        let promise = channel.eventLoop.makePromise(of: TLSInfo.self)
        let handler = try TLSHandler(try TLSContext(server: signer, settings), handshake: promise)
        try channel.pipeline.syncOperations.addHandler(handler)
        try channel.connect(to: try SocketAddress(unixDomainSocketPath: "/nowhere")).wait()
        return (channel, promise.futureResult)
    }

    private func end(_ channel: EmbeddedChannel) { _ = try? channel.finish(acceptAlreadyClosed: true) }

    /// What the peer sends while a signature is waited for would have no limit.
    @Test func nothingIsReadWhileItIsSigned() throws {
        let signer = Signer()
        try signer.add(.ecdsaP256)
        signer.answer = .later
        let (channel, _) = try server(signer)
        defer { end(channel) }
        let reads = Reads()
        try channel.pipeline.syncOperations.addHandler(reads, position: .first)
        let client = try Client(version: TLS1_3_VERSION)
        #expect(try !client.talk(to: channel))
        let before = reads.count
        for _ in 0..<3 { channel.read() }
        #expect(reads.count == before)
        let request = try #require(signer.asked.first)
        signer.waiting?.succeed(signer.signature(request))
        #expect(reads.count == before + 1)
        #expect(try client.talk(to: channel))
        channel.read()
        #expect(reads.count > before + 1)
    }

    /// Each kind of key in both versions, answered at once or later.
    @Test(arguments: [KeyKind.rsa, .ecdsaP256, .ecdsaP384, .ed25519], [TLS1_2_VERSION, TLS1_3_VERSION]) func handshakes(
        _ kind: KeyKind,
        _ version: Int32
    ) throws {
        let signer = Signer()
        try signer.add(kind)
        for answer in [Signer.Answer.atOnce, .later] {
            signer.answer = answer
            signer.asked = []
            let (channel, handshake) = try server(signer)
            defer { end(channel) }
            let client = try Client(version: version)
            var done = try client.talk(to: channel)
            if answer == .later {
                #expect(!done)
                let request = try #require(signer.asked.first)
                signer.waiting?.succeed(signer.signature(request))
                done = try client.talk(to: channel)
            }
            #expect(done)
            let info = try handshake.wait()
            #expect(info.version == (version == TLS1_3_VERSION ? "TLSv1.3" : "TLSv1.2"))
            #expect(info.cipher.contains("GCM") || info.cipher.contains("CHACHA20"))
            #expect(info.channelBindings.serverEndPoint == signer.pairs[0].shown.endPoint || kind == .ed25519)
            #expect(signer.asked.count == 1)
            #expect(signer.names.last == "mail.example.test")
        }
    }

    /// Who takes no ECDSA gets the other certificate.
    @Test(arguments: [TLS1_2_VERSION, TLS1_3_VERSION]) func twoKindsSideBySide(_ version: Int32) throws {
        let signer = Signer()
        try signer.add(.ecdsaP256)
        try signer.add(.rsa)
        for (signatures, key) in [(nil, "key-0"), ("rsa_pss_rsae_sha256:RSA+SHA256", "key-1"), ("RSA+SHA512", nil)] {
            // TLS 1.3 has no PKCS #1 in handshakes.
            if key == nil, version == TLS1_2_VERSION { continue }
            signer.asked = []
            let (channel, _) = try server(signer)
            defer { end(channel) }
            let client = try Client(version: version, signatures: signatures)
            #expect(try client.talk(to: channel) == (key != nil))
            #expect(signer.asked.first?.key == key)
        }
    }

    @Test(arguments: [TLS1_2_VERSION, TLS1_3_VERSION]) func withoutASignatureTheHandshakeFails(_ version: Int32) throws
    {
        let signer = Signer()
        try signer.add(.rsa)
        signer.answer = .never
        let (channel, handshake) = try server(signer)
        #expect(try !Client(version: version).talk(to: channel))
        #expect(throws: TLSError.keys("away")) { try handshake.wait() }
        end(channel)
        // Another connection of the same server is none the worse.
        signer.answer = .atOnce
        let (second, _) = try server(signer)
        #expect(try Client(version: version).talk(to: second))
        end(second)
    }

    /// The connection ends while the signature is waited for; the answer comes afterwards, or never.
    @Test(arguments: [TLS1_2_VERSION, TLS1_3_VERSION]) func aConnectionMayEndWhileItIsSigned(_ version: Int32) throws {
        for isAnswered in [true, false] {
            let signer = Signer()
            try signer.add(.ecdsaP256)
            signer.answer = .later
            for _ in 0..<50 {
                let (channel, handshake) = try server(signer)
                #expect(try !Client(version: version).talk(to: channel))
                end(channel)
                #expect(throws: TLSError.unexpectedEnd) { try handshake.wait() }
                if isAnswered {
                    signer.waiting?.succeed([1, 2, 3])
                } else {
                    signer.waiting?.fail(TLSError.unexpectedEnd)
                }
            }
        }
    }

    @Test func aWrongSignatureIsRefusedByTheClient() throws {
        let signer = Signer()
        try signer.add(.ecdsaP256)
        signer.answer = .later
        let (channel, handshake) = try server(signer)
        let client = try Client(version: TLS1_3_VERSION)
        _ = try client.talk(to: channel)
        signer.waiting?.succeed([UInt8](repeating: 1, count: 70))
        #expect(try !client.talk(to: channel))
        end(channel)
        #expect(throws: TLSError.self) { try handshake.wait() }
    }

    @Test(arguments: [TLS1_2_VERSION, TLS1_3_VERSION]) func sessionsAreResumedByProcessesThatShareKeys(
        _ version: Int32
    ) throws {
        let (first, second) = (Signer(), Signer())
        try first.add(.ecdsaP256)
        second.pairs = first.pairs
        let keys = (0..<2).map { number in [UInt8](repeating: UInt8(number), count: TLSTickets.keyOctets) }
        first.tickets.use([keys[0]])
        // Meanwhile there is a newer one.
        second.tickets.use([keys[1], keys[0]])
        let (channel, _) = try server(first)
        let client = try Client(version: version)
        #expect(try client.talk(to: channel))
        let session = try #require(SSL_get1_session(client.ssl))
        defer { SSL_SESSION_free(session) }
        end(channel)
        let (other, handshake) = try server(second)
        let again = try Client(version: version, resuming: session)
        #expect(try again.talk(to: other))
        #expect(COpenSSL_session_reused(again.ssl) == 1)
        #expect(second.asked.isEmpty)
        #expect(try handshake.wait().channelBindings.serverEndPoint == second.pairs[0].shown.endPoint)
        end(other)
        // By keys that are gone, none is.
        second.tickets.use([keys[1]])
        let (last, _) = try server(second)
        let late = try Client(version: version, resuming: session)
        #expect(try late.talk(to: last))
        #expect(COpenSSL_session_reused(late.ssl) == 0)
        end(last)
    }

    /// Who resumes has the certificate of the first handshake, whatever has become of it.
    @Test(arguments: [TLS1_2_VERSION, TLS1_3_VERSION]) func theEndPointOutlivesARenewal(_ version: Int32) throws {
        let signer = Signer()
        try signer.add(.ecdsaP256)
        let (channel, handshake) = try server(signer)
        let client = try Client(version: version)
        #expect(try client.talk(to: channel))
        let endPoint = try #require(try handshake.wait().channelBindings.serverEndPoint)
        var session = try #require(SSL_get1_session(client.ssl))
        end(channel)
        // OpenSSL resumes no session whose connection was freed without a word.
        var clients = [client]
        signer.pairs = []
        try signer.add(.ecdsaP256)
        #expect(signer.pairs[0].shown.endPoint != endPoint)
        for _ in 0..<2 {
            let (other, handshake) = try server(signer)
            let again = try Client(version: version, resuming: session)
            clients.append(again)
            #expect(try again.talk(to: other))
            #expect(COpenSSL_session_reused(again.ssl) == 1)
            #expect(try handshake.wait().channelBindings.serverEndPoint == endPoint)
            SSL_SESSION_free(session)
            session = try #require(SSL_get1_session(again.ssl))
            end(other)
        }
        SSL_SESSION_free(session)
        #expect(clients.count == 3)
    }

    @Test func whatPassesTheCheckServersCanHave() throws {
        #expect(TLSContext.areCiphers(TLSContext.standardCiphers))
        #expect(!TLSContext.areCiphers("AES128-GCM-SHA256"))
        #expect(!TLSContext.areCiphers("no such thing"))
    }

    @Test func withoutALifetimeNothingIsResumed() throws {
        let signer = Signer()
        try signer.add(.ecdsaP256)
        var settings = TLSServerSettings()
        settings.ticketLifetime = 0
        for version in [TLS1_2_VERSION, TLS1_3_VERSION] {
            let (channel, _) = try server(signer, settings)
            let client = try Client(version: version)
            #expect(try client.talk(to: channel))
            let session = try #require(SSL_get1_session(client.ssl))
            defer { SSL_SESSION_free(session) }
            end(channel)
            let (other, _) = try server(signer, settings)
            let again = try Client(version: version, resuming: session)
            #expect(try again.talk(to: other))
            #expect(COpenSSL_session_reused(again.ssl) == 0)
            end(other)
        }
    }

    @Test(arguments: [TLS1_2_VERSION, TLS1_3_VERSION]) func theAuthoritysResponseGoesOutWithTheCertificate(
        _ version: Int32
    ) throws {
        let signer = Signer()
        try signer.add(.ecdsaP256, ocsp: Array("a response".utf8))
        let (channel, _) = try server(signer)
        defer { end(channel) }
        let client = try Client(version: version)
        #expect(try client.talk(to: channel))
        var response: UnsafeMutableRawPointer?
        let count = SSL_ctrl(client.ssl, SSL_CTRL_GET_TLSEXT_STATUS_REQ_OCSP_RESP, 0, &response)
        let start = response?.assumingMemoryBound(to: UInt8.self)
        #expect(Array(UnsafeBufferPointer(start: start, count: max(0, count))) == Array("a response".utf8))
    }

    @Test func ciphersWithoutForwardSecrecyAreNotHad() throws {
        let signer = Signer()
        try signer.add(.rsa)
        var settings = TLSServerSettings()
        settings.ciphers = "AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
        let (channel, handshake) = try server(signer, settings)
        defer { end(channel) }
        #expect(try Client(version: TLS1_2_VERSION).talk(to: channel))
        #expect(try handshake.wait().cipher == "ECDHE-RSA-AES128-GCM-SHA256")
        settings.ciphers = "no such thing"
        #expect(throws: TLSError.self) { try TLSContext(server: signer, settings) }
    }

    /// A client whose key is elsewhere: it's asked for a certificate, or isn't.
    @Test(arguments: [KeyKind.rsa, .ecdsaP256, .ecdsaP384, .ed25519], [TLS1_2_VERSION, TLS1_3_VERSION])
    func aClientShowsItsCertificate(_ kind: KeyKind, _ version: Int32) throws {
        for asks in [true, false] {
            let (signer, own) = (Signer(), Signer())
            try signer.add(.ecdsaP256)
            let pair = TestPair(["client.example"], kind)
            let chain = try CertificateChain(pem: pair.certificate)
            own.pairs = [
                (try #require(PrivateKey(pem: pair.privateKey)), try ShownCertificate(chain, key: "key-0", ocsp: nil))
            ]
            own.answer = .later
            var settings = TLSServerSettings()
            let file = "/tmp/martlet-client-\(UInt64.random(in: 0 ... .max)).pem"
            defer { unlink(file) }
            if asks {
                let stream = try #require(fopen(file, "w"))
                fwrite(pair.certificate, 1, pair.certificate.count, stream)
                fclose(stream)
                settings.clientAuthorities = file
            }
            let context = try TLSContext(clientVerifying: false)
            SSL_CTX_ctrl(context.context, SSL_CTRL_SET_MAX_PROTO_VERSION, Int(version), nil)
            let (server, seen) = try server(signer, settings)
            let client = EmbeddedChannel()
            defer {
                end(client)
                end(server)
            }
            let promise = client.eventLoop.makePromise(of: TLSInfo.self)
            let identity = TLSIdentity(own.pairs[0].shown, keys: own)
            let handler = try TLSHandler(context, serverName: "a.example", identity: identity, handshake: promise)
            try client.pipeline.syncOperations.addHandler(handler)
            try client.connect(to: try SocketAddress(unixDomainSocketPath: "/nowhere")).wait()
            try pump(client, server)
            #expect(own.asked.count == (asks ? 1 : 0))
            if asks {
                let request = try #require(own.asked.first)
                if version == TLS1_3_VERSION {
                    #expect(
                        request.octets.starts(with: [UInt8](repeating: 0x20, count: 64) + Array("TLS 1.3, client".utf8))
                    )
                } else {
                    #expect(request.octets.first == 1)
                }
                own.waiting?.succeed(own.signature(request))
                try pump(client, server)
            }
            #expect(try promise.futureResult.wait().version == (version == TLS1_3_VERSION ? "TLSv1.3" : "TLSv1.2"))
            #expect(try seen.wait().clientCertificates == (asks ? chain.certificates : []))
        }
    }

    @Test func aClientWithoutItsSignatureFails() throws {
        let (signer, own) = (Signer(), Signer())
        try signer.add(.ecdsaP256)
        try own.add(.ecdsaP256)
        own.answer = .never
        let file = "/tmp/martlet-client-\(UInt64.random(in: 0 ... .max)).pem"
        defer { unlink(file) }
        let stream = try #require(fopen(file, "w"))
        let pem = TestPair(["authority.example"], role: .authority).certificate
        fwrite(pem, 1, pem.count, stream)
        fclose(stream)
        var settings = TLSServerSettings()
        settings.clientAuthorities = file
        let (server, _) = try server(signer, settings)
        let client = EmbeddedChannel()
        let promise = client.eventLoop.makePromise(of: TLSInfo.self)
        let identity = TLSIdentity(own.pairs[0].shown, keys: own)
        let context = try TLSContext(clientVerifying: false)
        try client.pipeline.syncOperations.addHandler(try TLSHandler(context, identity: identity, handshake: promise))
        try client.connect(to: try SocketAddress(unixDomainSocketPath: "/nowhere")).wait()
        try pump(client, server)
        #expect(throws: TLSError.keys("away")) { try promise.futureResult.wait() }
        end(client)
        end(server)
    }

    /// Carries octets from one side to the other until none are left.
    private func pump(_ client: EmbeddedChannel, _ server: EmbeddedChannel) throws {
        var moved = true
        while moved {
            moved = false
            for (from, to) in [(client, server), (server, client)] {
                while let sent = try from.readOutbound(as: ByteBuffer.self) {
                    guard sent.readableBytes > 0 else { continue }
                    moved = true
                    _ = try? to.writeInbound(sent)
                }
            }
        }
    }
}
