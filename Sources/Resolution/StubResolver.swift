import DNS
import NIOCore
import Network

/// What resolverd answered.
package struct Resolution: Sendable {
    package let responseCode: ResponseCode
    package let answers: [ResourceRecord]
    /// AD: resolverd validated the answer (RFC 4035 §3.2.3).
    package let isAuthentic: Bool
    /// AA: it's from a zone that resolverd serves itself (RFC 1035 §4.1.1).
    package let isFromOurZone: Bool
    /// How long the answer may be kept. Seconds.
    package let lifetime: UInt32

    package init(
        responseCode: ResponseCode,
        answers: [ResourceRecord],
        isAuthentic: Bool = false,
        isFromOurZone: Bool = false,
        lifetime: UInt32 = 0
    ) {
        self.responseCode = responseCode
        self.answers = answers
        self.isAuthentic = isAuthentic
        self.isFromOurZone = isFromOurZone
        self.lifetime = lifetime
    }
}

/// Why there is no answer.
package enum ResolutionError: Error, Equatable {
    /// resolverd is down, or the connection broke.
    case unavailable(String)
    case timedOut
    case malformed
    /// 65,536 questions are in flight.
    case tooMany
}

/// Asks resolverd through `run/dns.sock`: DNS over a stream (RFC 1035 §4.2.2), many questions in flight on one
/// connection, which is made again when it broke. Belongs to one event loop; every call must come from its thread.
package final class StubResolver: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.

    /// Asks for the records of a name and type.
    package typealias Query = @Sendable (DomainName, RecordType) async throws(ResolutionError) -> Resolution

    private let path: String
    private let loop: any EventLoop
    private let timeout: TimeAmount
    private var connection: Connection?
    private var inFlight: [UInt16: (Question, CheckedContinuation<Result<Resolution, ResolutionError>, Never>)] = [:]
    private var lastID: UInt16 = 0

    /// - Parameter timeout: how long one question may take.
    package init(path: String, on loop: any EventLoop, timeout: TimeAmount = .seconds(30)) {
        self.path = path
        self.loop = loop
        self.timeout = timeout
    }

    /// Asks for the records of a name and type.
    package func query(_ name: DomainName, _ type: RecordType) async throws(ResolutionError) -> Resolution {
        loop.assertInEventLoop()
        let connection = try await connected()
        guard inFlight.count < 0xffff else { throw .tooMany }
        repeat { lastID &+= 1 } while inFlight[lastID] != nil
        let id = lastID
        let question = Question(name: name, type: type)
        let timer = loop.scheduleTask(in: timeout) { [self] in finish(id, .failure(.timedOut)) }
        var query = DNSMessage.query(id: id, question: question)
        // Otherwise we aren't told (RFC 6840 §5.7).
        query.flags.isAuthenticData = true
        let message = query.encode()
        connection.write(with: { buffer in
            buffer.writeInteger(UInt16(truncatingIfNeeded: message.count))
            buffer.writeBytes(message)
        })
        let result = await withCheckedContinuation { continuation in
            inFlight[id] = (question, continuation)
            // Questions of one turn of the loop leave together.
            connection.flushSoon()
        }
        timer.cancel()
        return try result.get()
    }

    private func connected() async throws(ResolutionError) -> Connection {
        if let connection { return connection }
        let fresh: Connection
        do {
            fresh = try await Connection.connect(unix: path, on: loop)
        } catch {
            throw .unavailable("\(path): \(error)")
        }
        // Somebody else may have connected meanwhile.
        if let connection {
            fresh.abort()
            return connection
        }
        connection = fresh
        Task(executorPreference: LoopExecutor.of(loop)) { await self.readAnswers(fresh) }
        return fresh
    }

    private func readAnswers(_ connection: Connection) async {
        var reason = ResolutionError.unavailable("\(path): connection closed")
        do {
            while true {
                let length = try await connection.readExactly(2).readableBytesView.reduce(0) { $0 << 8 | Int($1) }
                let octets = try await connection.readExactly(length)
                guard let message = try? DNSMessage(decoding: octets) else {
                    reason = .malformed
                    break
                }
                handle(message)
            }
        } catch {
            reason = .unavailable("\(path): \(error)")
        }
        connection.abort()
        if self.connection === connection { self.connection = nil }
        for id in inFlight.keys { finish(id, .failure(reason)) }
    }

    private func handle(_ message: DNSMessage) {
        guard let (question, _) = inFlight[message.id], message.flags.isResponse,
            message.questions.isEmpty || message.questions == [question]
        else { return }
        finish(
            message.id,
            .success(
                Resolution(
                    responseCode: message.responseCode,
                    answers: message.answers,
                    isAuthentic: message.flags.isAuthenticData,
                    isFromOurZone: message.flags.isAuthoritative,
                    lifetime: message.lifetime
                )
            )
        )
    }

    private func finish(_ id: UInt16, _ result: Result<Resolution, ResolutionError>) {
        loop.assertInEventLoop()
        inFlight.removeValue(forKey: id)?.1.resume(returning: result)
    }

    /// Closes the connection; questions in flight fail as unavailable.
    package func close() { connection?.abort() }
}
