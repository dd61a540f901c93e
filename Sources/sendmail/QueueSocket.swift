import Bus
import NIOCore

#if canImport(Glibc)
import Glibc
#endif

/// A plain blocking connection to one of queue-manager's sockets.
final class QueueSocket {
    private let descriptor: CInt
    private var parser = FrameParser()
    private var input = ByteBuffer()

    /// - Throws: `Failure` with EX_TEMPFAIL where nobody listens.
    init(_ path: String) throws {
        descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { space in
            space.copyBytes(from: path.utf8.prefix(space.count - 1))
        }
        let isConnected = withUnsafeBytes(of: &address) { bytes in
            bytes.withMemoryRebound(to: sockaddr.self) { pointer in
                pointer.baseAddress.map {
                    connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
                } ?? false
            }
        }
        guard isConnected else {
            throw Failure(.temporary, "queue-manager does not answer on \(path): \(String(cString: strerror(errno)))")
        }
    }

    deinit { close(descriptor) }

    func send(_ frame: Frame) throws {
        var octets = ByteBuffer()
        octets.writeFrame(frame)
        while octets.readableBytes > 0 {
            let count = octets.withUnsafeReadableBytes { write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            // It may have said why before it hung up.
            guard count > 0 else { return }
            octets.moveReaderIndex(forwardBy: count)
        }
    }

    /// The next frame.
    ///
    /// - Throws: `Failure` with EX_TEMPFAIL where the connection ends first.
    func receive() throws -> Frame {
        while true {
            do {
                if let frame = try parser.next(from: &input) { return frame }
            } catch {
                throw Failure(.temporary, "queue-manager: \(error)")
            }
            let count = input.writeWithUnsafeMutableBytes(minimumWritableBytes: 65536) { space in
                max(0, read(descriptor, space.baseAddress, space.count))
            }
            guard count > 0 else { throw Failure(.temporary, "queue-manager closed the connection") }
        }
    }

    /// The last frame of an answer.
    ///
    /// - Throws: `Failure`, with EX_TEMPFAIL or EX_UNAVAILABLE by the kind of the answer.
    func answer(each: (Frame) -> Void = { _ in }) throws -> Frame {
        while true {
            let frame = try receive()
            let text = "\(frame["status"] ?? "") \(frame["text"] ?? "")"
            switch frame.replyKind {
            case .ok: return frame
            case .defer: throw Failure(.temporary, text)
            case .reject: throw Failure(.unavailable, text)
            case nil: each(frame)
            }
        }
    }
}
