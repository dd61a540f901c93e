import DNS
import NIOCore
import Network
import TSIG
import ZoneTransfer

/// A conversation with a primary over TCP, signed where a key was named for it. On the event loop.
struct PrimarySession {
    private let connection: Connection
    private let zone: DomainName
    private let key: TSIGKey?
    private let clock: @Sendable () -> UInt64

    private static let connectTime = TimeAmount.seconds(10)
    private static let idleTime = TimeAmount.seconds(30)

    /// Connects.
    ///
    /// - Parameters:
    ///   - source: where to come from, where it matters.
    ///   - time: how long the whole conversation may take.
    ///   - clock: seconds since 1970.
    static func open(
        _ primary: SocketAddress,
        from source: SocketAddress?,
        zone: DomainName,
        key: TSIGKey?,
        on loop: any EventLoop,
        time: TimeAmount,
        clock: @escaping @Sendable () -> UInt64
    ) async throws(PrimaryError) -> PrimarySession {
        do {
            let connection = try await Connection.connect(
                to: primary,
                from: source,
                on: loop,
                timeout: min(connectTime, time)
            )
            connection.idleTimeout = idleTime
            connection.deadline = .now() + time
            return PrimarySession(connection: connection, zone: zone, key: key, clock: clock)
        } catch {
            throw .connection(error)
        }
    }

    func close() { connection.abort() }

    /// The primary's SOA record of the zone.
    func start() async throws(PrimaryError) -> ResourceRecord {
        let question = Question(name: zone, type: .soa)
        let query = DNSMessage(id: .random(in: .min ... .max), questions: [question])
        var verifier = try await send(query)
        let message = try await receive(&verifier)
        guard message.id == query.id, message.flags.isResponse, message.flags.opcode == .query,
            message.questions == [question]
        else { throw .transfer(.foreign) }
        guard message.responseCode == .noError else { throw .transfer(.refused(message.responseCode)) }
        guard message.flags.isAuthoritative,
            let start = message.answers.first(where: { $0.type == .soa && $0.name == zone && $0.class == .internet })
        else { throw .notAuthoritative }
        return start
    }

    /// Asks for the zone, or what came after a version of it.
    func transfer(_ request: TransferRequest, limits: TransferLimits) async throws(PrimaryError) -> TransferOutcome {
        let query = request.query(id: .random(in: .min ... .max), zone: zone)
        var verifier = try await send(query)
        var reader = TransferReader(zone: zone, request: request, id: query.id, limits: limits)
        while true {
            let message = try await receive(&verifier)
            do {
                try reader.read(message)
            } catch {
                throw .transfer(error)
            }
            if let outcome = reader.outcome {
                // The last message must be covered by a signature (RFC 8945 §5.3.1).
                guard verifier?.isComplete ?? true else { throw .signature(.unsigned) }
                return outcome
            }
            // It's not waited for what may never come: the whole zone is asked for at once, on another connection.
            if reader.hasOnlyStart, connection.input.readableBytes == 0 { throw .transfer(.onlyStart) }
            // Others have their turn on the event loop, however fast the primary is.
            await connection.eventLoop.letOthersGo()
        }
    }

    /// Sends a query; gives what checks the answers' signatures.
    private func send(_ query: DNSMessage) async throws(PrimaryError) -> TSIGVerifier? {
        var octets = query.encode()
        var verifier: TSIGVerifier?
        if let key {
            var signer = TSIGSigner(requestWith: key)
            octets = signer.sign(octets, now: clock())
            verifier = TSIGVerifier(key: key, requestCode: signer.lastCode)
        }
        connection.write { $0.writeInteger(UInt16(truncatingIfNeeded: octets.count)) }
        connection.write(octets)
        do {
            try await connection.flush()
        } catch {
            throw .connection(error)
        }
        return verifier
    }

    private func receive(_ verifier: inout TSIGVerifier?) async throws(PrimaryError) -> DNSMessage {
        var octets: [UInt8]
        do {
            var length = try await connection.readExactly(2)
            octets = Array(
                try await connection.readExactly(Int(length.readInteger(as: UInt16.self) ?? 0)).readableBytesView
            )
        } catch {
            throw .connection(error)
        }
        do {
            octets = try verifier?.verify(octets, now: clock()) ?? octets
        } catch {
            throw .signature(error)
        }
        do {
            return try DNSMessage(decoding: octets)
        } catch {
            throw .malformed(error)
        }
    }
}
