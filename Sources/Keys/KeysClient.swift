import Bus
import NIOCore

/// Why keyd gave no answer that can be used: try again later.
package enum KeysError: Error, Equatable, CustomStringConvertible {
    /// It's away, didn't answer in time, or can't say now.
    case unavailable(String)
    /// It refuses.
    case refused(String)

    package var description: String {
        switch self {
        case .unavailable(let text): "keyd: \(text)"
        case .refused(let text): "keyd refused: \(text)"
        }
    }
}

/// Asks keyd. Belongs to one event loop; every call must come from its thread.
package final class KeysClient: Sendable {
    private let client: BusClient
    private let loop: any EventLoop
    private let timeout: TimeAmount

    /// - Parameters:
    ///   - path: of keyd's socket, as this process sees it.
    ///   - timeout: how long an answer may take.
    package init(path: String, on loop: any EventLoop, timeout: TimeAmount = .seconds(5)) {
        client = BusClient(path: path, on: loop, timeout: timeout)
        self.loop = loop
        self.timeout = timeout
    }

    /// The signature of what a handshake signs, or of a digest of DKIM, in the form that they have; ECDSA in DER.
    package func sign(
        _ octets: [UInt8],
        with key: KeyName,
        _ algorithm: SigningAlgorithm
    ) async throws(KeysError) -> [UInt8] {
        let answer = try await ask(.sign(key: key, algorithm: algorithm, octets: octets))
        guard let body = answer.body else { throw .unavailable("malformed answer") }
        return Array(body.readableBytesView)
    }

    /// The keys that mail of a domain is signed with now; none for a domain whose mail isn't signed.
    ///
    /// - Parameter domain: in ASCII, in any case.
    package func dkimKeys(of domain: String) async throws(KeysError) -> [DKIMKey] {
        let answer = try await ask(.dkim(domain: domain.lowercased()))
        guard let keys = DKIMKey.all(in: answer) else { throw .unavailable("malformed answer") }
        return keys
    }

    /// The keys for tickets of a service.
    package func ticketKeys(of service: String) async throws(KeysError) -> TicketKeys {
        guard let keys = TicketKeys(try await ask(.tickets(service: service))) else {
            throw .unavailable("malformed answer")
        }
        return keys
    }

    /// All certificates that the caller may show, in the order of the configuration.
    package func certificates() async throws(KeysError) -> [ServedCertificate] {
        do throws(BusError) {
            try await client.connect()
        } catch {
            throw Self.error(error)
        }
        // Ends it with the connection, which has nothing to say that is of use.
        let timer = loop.scheduleTask(in: timeout) { [client] in client.close() }
        defer { timer.cancel() }
        let result: Result<[ServedCertificate], KeysError> = await withCheckedContinuation { continuation in
            var found: [ServedCertificate] = []
            client.start(KeyRequest.certificates.frame) { result in
                switch result {
                case .success(let frame):
                    if let certificate = ServedCertificate(frame) {
                        found.append(certificate)
                        return false
                    }
                    guard frame.replyKind == .ok, frame.integer("count") == found.count else {
                        continuation.resume(returning: .failure(Self.refusal(frame)))
                        return true
                    }
                    continuation.resume(returning: .success(found))
                    return true
                case .failure(let error):
                    continuation.resume(returning: .failure(Self.error(error)))
                    return true
                }
            }
        }
        return try result.get()
    }

    private func ask(_ request: KeyRequest) async throws(KeysError) -> Frame {
        let answer: Frame
        do throws(BusError) {
            answer = try await client.request(request.frame)
        } catch {
            throw Self.error(error)
        }
        guard answer.replyKind == .ok else { throw Self.refusal(answer) }
        return answer
    }

    private static func refusal(_ frame: Frame) -> KeysError {
        let text = frame["text"] ?? "malformed answer"
        return frame.replyKind == .reject ? .refused(text) : .unavailable(text)
    }

    private static func error(_ error: BusError) -> KeysError {
        switch error {
        case .unavailable(let text), .malformed(let text): .unavailable(text)
        case .timedOut: .unavailable("no answer in time")
        }
    }

    package func close() { client.close() }
}
