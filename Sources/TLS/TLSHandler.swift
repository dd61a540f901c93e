import COpenSSL
import CTLSKeys
import NIOCore

/// TLS on a channel: records on the network's side, plain octets on the other. One handler for one connection.
///
/// The peer's close_notify ends its direction only (RFC 8446 §6.1): it's reported as `ChannelEvent.inputClosed`, as a TCP
/// connection that is half closed, and what is written goes on being sent until we close.
///
/// OpenSSL works on two memory BIOs; nothing here touches a socket. A failure closes the channel after an alert was
/// sent where there is one, and fails `handshake` or is fired through the pipeline as `TLSError`.
package final class TLSHandler: ChannelDuplexHandler, RemovableChannelHandler {
    package typealias InboundIn = ByteBuffer
    package typealias InboundOut = ByteBuffer
    package typealias OutboundIn = ByteBuffer
    package typealias OutboundOut = ByteBuffer

    private enum State {
        case handshaking
        case active
        case closed
    }

    private let ssl: OpaquePointer
    /// Stays as long as the connection: its callbacks use what belongs to it.
    private let context: TLSContext
    private let fromNetwork: OpaquePointer
    private let toNetwork: OpaquePointer
    private var state = State.handshaking
    private var handshakeDone: EventLoopPromise<TLSInfo>
    /// Plain octets that were written before the handshake ended.
    private var waiting: CircularBuffer<(ByteBuffer, EventLoopPromise<Void>?)> = []
    private var closing = false
    /// Who signs; nil where the keys are here, or none are needed.
    private let keys: (any TLSKeys)?
    /// Where keys are elsewhere, until the handshake is over. OpenSSL works on it while a handshake is paused.
    private var paused: UnsafeMutablePointer<CTLSKeys_handshake>?
    /// Whether the handshake waits for certificates or for a signature.
    private var isWaitingForKeys = false
    /// Something wants to read meanwhile: what the peer sends would be kept without limit.
    private var hasHeldRead = false
    /// Why there was no certificate, or no signature.
    private var keyFailure: TLSError?
    /// The peer has sent close_notify: what comes behind it is ignored.
    private var peerHasEnded = false
    private let verification: ServerVerification
    /// Of the session that a client offers to resume.
    private var earlierProof: ServerProof?
    private let resumption: (store: TLSResumption, key: TLSResumption.Key)?

    /// One record's plain octets at most (RFC 8446 §5.1), and so the size of one read.
    private static let recordOctets = 16 * 1024
    private static let leastRead = 256

    /// - Parameters:
    ///   - context: a server's or a client's.
    ///   - serverName: a client's SNI and, where the context verifies, the name that the certificate must have; or the
    ///     address that it must have.
    ///   - verification: what a client wants to be shown.
    ///   - identity: what a client shows where the server asks for it; nil for nothing.
    ///   - resumption: where a client finds sessions to resume and keeps its own, and a name of its destination in there.
    ///   - handshake: succeeds when the handshake is complete, fails with `TLSError`.
    package init(
        _ context: TLSContext,
        serverName: String? = nil,
        verification: ServerVerification = .asContext,
        identity: TLSIdentity? = nil,
        resumption: (store: TLSResumption, destination: String)? = nil,
        handshake: EventLoopPromise<TLSInfo>
    ) throws(TLSError) {
        guard let ssl = SSL_new(context.context), let input = BIO_new(BIO_s_mem()), let output = BIO_new(BIO_s_mem())
        else { throw .configuration(TLSError.lastReason()) }
        self.ssl = ssl
        self.context = context
        fromNetwork = input
        toNetwork = output
        handshakeDone = handshake
        self.verification = verification
        keys = context.isServer ? context.keys : identity?.keys
        self.resumption = resumption.map { ($0.store, .init(destination: $0.destination, verification: verification)) }
        _ = COpenSSL_mem_eof_return(input, -1)
        _ = COpenSSL_mem_eof_return(output, -1)
        SSL_set_bio(ssl, input, output)
        if keys != nil {
            let handshake = UnsafeMutablePointer<CTLSKeys_handshake>.allocate(capacity: 1)
            handshake.initialize(to: CTLSKeys_handshake())
            paused = handshake
        }
        if context.isServer {
            SSL_set_accept_state(ssl)
        } else {
            SSL_set_connect_state(ssl)
            try verification.prepare(ssl, serverName: serverName)
            if let identity {
                guard identity.certificate.show(in: ssl), CTLSKeys_use_as_client(ssl, TLSContext.signatures) == 1 else {
                    throw .configuration("OpenSSL can't show the certificate: \(TLSError.lastReason())")
                }
            }
            if let resumption = self.resumption {
                COpenSSL_set_app_data(ssl, Unmanaged.passUnretained(self).toOpaque())
                if let (session, proof) = resumption.store.take(resumption.key) {
                    earlierProof = proof
                    _ = SSL_set_session(ssl, session)
                    SSL_SESSION_free(session)
                }
            }
        }
    }

    /// OpenSSL has a session that may be resumed later: in TLS 1.3, some time after the handshake. It counts as verified.
    static let keepSession: @convention(c) (OpaquePointer?, OpaquePointer?) -> Int32 = { ssl, session in
        guard let ssl, let session, let handler = COpenSSL_app_data(ssl) else { return 0 }
        return Unmanaged<TLSHandler>.fromOpaque(handler).takeUnretainedValue().keep(session) ? 1 : 0
    }

    private func keep(_ session: OpaquePointer) -> Bool {
        guard let resumption, state != .closed else { return false }
        resumption.store.keep(session, proof, resumption.key)
        return true
    }

    deinit {
        endPause()
        SSL_free(ssl)
    }

    package func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { advanceHandshake(context: context) }
    }

    package func channelActive(context: ChannelHandlerContext) {
        advanceHandshake(context: context)
        context.fireChannelActive()
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard state != .closed, !peerHasEnded else { return }
        let buffer = unwrapInboundIn(data)
        buffer.withUnsafeReadableBytes { octets in
            // A memory BIO takes all or fails for want of memory, which the next SSL call reports.
            _ = BIO_write(fromNetwork, octets.baseAddress, Int32(clamping: octets.count))
        }
        if state == .handshaking { advanceHandshake(context: context) }
        if state == .active { readRecords(context: context) }
    }

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        // Half-closed connections stay open, but no handshake comes to its end on one.
        if state == .handshaking, let event = event as? ChannelEvent, event == .inputClosed {
            finish(with: .unexpectedEnd)
            context.close(promise: nil)
        }
        if peerHasEnded, let event = event as? ChannelEvent, event == .inputClosed { return }
        context.fireUserInboundEventTriggered(event)
    }

    package func handlerRemoved(context: ChannelHandlerContext) { finish(with: .unexpectedEnd) }

    package func channelInactive(context: ChannelHandlerContext) {
        finish(with: .unexpectedEnd)
        context.fireChannelInactive()
    }

    package func read(context: ChannelHandlerContext) {
        if isWaitingForKeys {
            hasHeldRead = true
        } else {
            context.read()
        }
    }

    package func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let buffer = unwrapOutboundIn(data)
        switch state {
        case .handshaking: waiting.append((buffer, promise))
        case .active: encrypt(buffer, context: context, promise: promise)
        case .closed: promise?.fail(ChannelError.ioOnClosedChannel)
        }
    }

    package func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        if state == .active, mode != .input, !closing {
            closing = true
            ERR_clear_error()
            _ = SSL_shutdown(ssl)
            sendRecords(context: context)
            context.flush()
        }
        if mode == .all { finish(with: .unexpectedEnd) }
        context.close(mode: mode, promise: promise)
    }

    private func advanceHandshake(context: ChannelHandlerContext) {
        guard state == .handshaking, !isWaitingForKeys else { return }
        ERR_clear_error()
        let result = paused.map { CTLSKeys_advance(ssl, $0) } ?? SSL_do_handshake(ssl)
        let reason = SSL_get_error(ssl, result)
        sendRecords(context: context)
        context.flush()
        if result == 1 {
            if let fault = verification.mismatch(ssl) {
                let isName = fault == .hostMismatch
                return fail(
                    .certificate(fault, "the certificate is \(isName ? "for other names" : "another one")"),
                    context
                )
            }
            state = .active
            endPause()
            CTLSKeys_end(ssl)
            handshakeDone.succeed(negotiated())
            while let (buffer, promise) = waiting.popFirst() { encrypt(buffer, context: context, promise: promise) }
            context.flush()
            return
        }
        switch (reason, paused, keys) {
        case (SSL_ERROR_WANT_READ, _, _): return
        case (SSL_ERROR_WANT_X509_LOOKUP, .some(let handshake), .some(let keys)):
            waitForCertificates(handshake, keys, context: context)
        case (SSL_ERROR_WANT_ASYNC, .some(let handshake), .some(let keys)):
            waitForSignature(handshake, keys, context: context)
        default: fail(context: context)
        }
    }

    // MARK: Keys elsewhere

    private func waitForCertificates(
        _ handshake: UnsafeMutablePointer<CTLSKeys_handshake>,
        _ keys: any TLSKeys,
        context: ChannelHandlerContext
    ) {
        isWaitingForKeys = true
        keys.certificates(for: serverName, on: context.eventLoop).assumeIsolated().whenComplete { [self] result in
            isWaitingForKeys = false
            defer { readAgain(context: context) }
            guard state == .handshaking else { return }
            var isShown = false
            switch result {
            case .success(let certificates):
                for certificate in certificates where certificate.show(in: ssl) { isShown = true }
                if !isShown { keyFailure = .keys("OpenSSL can't show the certificate: \(TLSError.lastReason())") }
            case .failure(let error): keyFailure = error as? TLSError
            }
            guard isShown else { return fail(context: context) }
            handshake.pointee.has_certificates = true
            advanceHandshake(context: context)
        }
    }

    private func waitForSignature(
        _ handshake: UnsafeMutablePointer<CTLSKeys_handshake>,
        _ keys: any TLSKeys,
        context: ChannelHandlerContext
    ) {
        isWaitingForKeys = true
        keys.sign(Self.request(handshake), on: context.eventLoop).assumeIsolated().whenComplete { [self] result in
            isWaitingForKeys = false
            defer { readAgain(context: context) }
            // The connection may be over, and the pause with it.
            guard state == .handshaking else { return }
            switch result {
            case .success(let signature): Self.answer(handshake, signature)
            case .failure(let error):
                keyFailure = error as? TLSError
                Self.answer(handshake, [])
            }
            advanceHandshake(context: context)
        }
    }

    private func readAgain(context: ChannelHandlerContext) {
        guard hasHeldRead, !isWaitingForKeys, state != .closed else { return }
        hasHeldRead = false
        context.read()
    }

    private static func request(_ handshake: UnsafeMutablePointer<CTLSKeys_handshake>) -> TLSSignatureRequest {
        TLSSignatureRequest(
            key: withUnsafeBytes(of: &handshake.pointee.key) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            },
            scheme: handshake.pointee.scheme,
            octets: Array(UnsafeBufferPointer(start: handshake.pointee.octets, count: handshake.pointee.count))
        )
    }

    private static func answer(_ handshake: UnsafeMutablePointer<CTLSKeys_handshake>, _ signature: [UInt8]) {
        withUnsafeMutableBytes(of: &handshake.pointee.signature) { space in
            guard signature.count <= space.count else { return }
            space.copyBytes(from: signature)
        }
        handshake.pointee.signature_count = signature.count <= Int(CTLSKEYS_MAXIMUM_SIGNATURE) ? signature.count : 0
        handshake.pointee.is_answered = true
    }

    /// What the client calls the server (SNI).
    private var serverName: String? {
        SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name).map { String(cString: $0) }
    }

    /// Lets go of what the handshake needed. One that is paused is brought to its end first: OpenSSL doesn't free what a paused
    /// job has.
    private func endPause() {
        guard let handshake = paused else { return }
        paused = nil
        if handshake.pointee.is_asked {
            Self.answer(handshake, [])
            _ = CTLSKeys_advance(ssl, handshake)
            ERR_clear_error()
        }
        handshake.deinitialize(count: 1)
        handshake.deallocate()
    }

    /// How the server has shown who it is, in this handshake or in that of the session that was resumed.
    private var proof: ServerProof? { SSL_session_reused(ssl) == 1 ? earlierProof : verification.proof(ssl) }

    private func negotiated() -> TLSInfo {
        TLSInfo(
            version: SSL_get_version(ssl).map { String(cString: $0) } ?? "",
            cipher: SSL_CIPHER_get_name(SSL_get_current_cipher(ssl)).map { String(cString: $0) } ?? "",
            applicationProtocol: applicationProtocol(),
            serverFingerprint: context.isServer ? nil : serverFingerprint(),
            serverProof: proof,
            certificateFault: verification.fault(ssl),
            isResumed: SSL_session_reused(ssl) == 1,
            channelBindings: context.isServer ? TLSChannelBindings(of: ssl) : TLSChannelBindings(),
            clientCertificates: context.isServer ? ClientCertificate.verified(of: ssl) : []
        )
    }

    private func serverFingerprint() -> [UInt8]? {
        guard let certificate = SSL_get1_peer_certificate(ssl) else { return nil }
        defer { X509_free(certificate) }
        return CertificateChain.fingerprint(of: certificate)
    }

    private func applicationProtocol() -> String? {
        var octets: UnsafePointer<UInt8>?
        var length: UInt32 = 0
        SSL_get0_alpn_selected(ssl, &octets, &length)
        guard let octets, length > 0 else { return nil }
        return String(decoding: UnsafeBufferPointer(start: octets, count: Int(length)), as: UTF8.self)
    }

    private func readRecords(context: ChannelHandlerContext) {
        while state == .active {
            // Octets are never more in plain than they were on their way.
            let available = COpenSSL_pending(fromNetwork) + Int(SSL_pending(ssl))
            guard available > 0 else { break }
            let room = min(max(available, Self.leastRead), Self.recordOctets)
            var plain = context.channel.allocator.buffer(capacity: room)
            ERR_clear_error()
            var result: Int32 = 0
            plain.writeWithUnsafeMutableBytes(minimumWritableBytes: room) { space in
                result = SSL_read(ssl, space.baseAddress, Int32(clamping: room))
                return max(0, Int(result))
            }
            guard result > 0 else {
                let reason = SSL_get_error(ssl, result)
                sendRecords(context: context)
                context.flush()
                switch reason {
                case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: return
                case SSL_ERROR_ZERO_RETURN:
                    peerHasEnded = true
                    context.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
                default: fail(context: context)
                }
                return
            }
            context.fireChannelRead(wrapInboundOut(plain))
        }
        // Reading may have made something to send: an update of keys is answered.
        guard COpenSSL_pending(toNetwork) > 0 else { return }
        sendRecords(context: context)
        context.flush()
    }

    private func encrypt(_ buffer: ByteBuffer, context: ChannelHandlerContext, promise: EventLoopPromise<Void>?) {
        var rest = buffer
        while rest.readableBytes > 0 {
            ERR_clear_error()
            let count = rest.withUnsafeReadableBytes { SSL_write(ssl, $0.baseAddress, Int32(clamping: $0.count)) }
            guard count > 0 else {
                promise?.fail(TLSError.protocolFailure(TLSError.lastReason()))
                fail(context: context)
                return
            }
            rest.moveReaderIndex(forwardBy: min(Int(count), rest.readableBytes))
        }
        sendRecords(context: context, promise: promise)
    }

    private func sendRecords(context: ChannelHandlerContext, promise: EventLoopPromise<Void>? = nil) {
        let pending = COpenSSL_pending(toNetwork)
        guard pending > 0 else {
            // Whoever waits for an empty write waits for what was written before it.
            if let promise { context.write(wrapOutboundOut(ByteBuffer()), promise: promise) }
            return
        }
        var records = context.channel.allocator.buffer(capacity: pending)
        records.writeWithUnsafeMutableBytes(minimumWritableBytes: pending) { space in
            max(0, Int(BIO_read(toNetwork, space.baseAddress, Int32(clamping: pending))))
        }
        context.write(wrapOutboundOut(records), promise: promise)
    }

    private func fail(context: ChannelHandlerContext) { fail(keyFailure ?? failure(), context) }

    private func fail(_ error: TLSError, _ context: ChannelHandlerContext) {
        sendRecords(context: context)
        context.flush()
        finish(with: error)
        context.fireErrorCaught(error)
        context.close(promise: nil)
    }

    /// What is wrong with the peer's certificate where it's that, else OpenSSL's reason.
    private func failure() -> TLSError {
        let verdict = SSL_get_verify_result(ssl)
        guard state == .handshaking, SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE, verdict != Int(X509_V_OK),
            let text = X509_verify_cert_error_string(verdict)
        else { return .protocolFailure(TLSError.lastReason()) }
        ERR_clear_error()
        return .certificate(
            CertificateFault(verdict: verdict),
            "certificate verify failed: \(String(cString: text))"
        )
    }

    private func finish(with error: TLSError) {
        let wasHandshaking = state == .handshaking
        state = .closed
        endPause()
        if wasHandshaking { handshakeDone.fail(error) }
        while let (_, promise) = waiting.popFirst() { promise?.fail(error) }
    }
}
