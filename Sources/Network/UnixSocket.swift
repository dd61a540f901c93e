import CLinux

#if canImport(Glibc)
import Glibc
#endif

/// Unix-domain sockets by plain system calls: those that listen are made while the process has the right to and no thread
/// exists yet, and commands connect that have no event loop.
package enum UnixSocket {
    /// Binds and listens on a path. A socket that a dead process left there is replaced; one that somebody listens on
    /// never is.
    ///
    /// - Parameter mode: of the socket's file: who may connect.
    /// - Throws: when somebody listens there already (the text names the process), and when the system refuses.
    package static func listen(_ path: String, mode: UInt32 = 0o666) throws(SocketError) -> CInt {
        guard let address = address(path) else {
            errno = ENAMETOOLONG
            throw SocketError("listen on \(path)")
        }
        // Of two processes that start at once, one would find the other's socket bound and not listening yet, which
        // looks like a dead one.
        let lock = try StartLock("\(path).lock")
        defer { lock.release() }
        try removeDead(path, address)
        let socket = Glibc.socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        guard socket >= 0 else { throw SocketError("listen on \(path)") }
        guard call(address, { bind(socket, $0, $1) }) == 0, chmod(path, mode) == 0, Glibc.listen(socket, 1024) == 0
        else {
            defer { Glibc.close(socket) }
            throw SocketError("listen on \(path)")
        }
        return socket
    }

    /// Removes what a dead process left on a path.
    ///
    /// - Throws: when it isn't known to be dead.
    private static func removeDead(_ path: String, _ address: sockaddr_un) throws(SocketError) {
        var status = stat()
        guard lstat(path, &status) == 0 else {
            if errno == ENOENT { return }
            throw SocketError("listen on \(path)")
        }
        guard status.st_mode & S_IFMT == S_IFSOCK else {
            throw SocketError("listen on \(path)", reason: "there is a file of this name that is not a socket")
        }
        let type = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
        let probe = socket(AF_UNIX, type, 0)
        guard probe >= 0 else { throw SocketError("listen on \(path)") }
        defer { close(probe) }
        if call(address, { Glibc.connect(probe, $0, $1) }) == 0 {
            throw SocketError("listen on \(path)", reason: "in use by \(owner(of: probe))")
        }
        switch errno {
        case ECONNREFUSED:
            guard unlink(path) == 0 || errno == ENOENT else { throw SocketError("remove \(path)") }
        case ENOENT: return
        // So many clients wait that the kernel takes no more: somebody listens, or did a moment ago.
        case EAGAIN: throw SocketError("listen on \(path)", reason: "in use by a process that is busy")
        default: throw SocketError("connect to \(path), to see whether it is in use")
        }
    }

    /// Who listens at the other end of a connected socket: `process 4711 (queue-manager)`.
    private static func owner(of socket: CInt) -> String {
        let process = CLinux_peer_pid(socket)
        guard process > 0 else { return "another process" }
        guard let file = fopen("/proc/\(process)/comm", "re") else { return "process \(process)" }
        defer { fclose(file) }
        var name = [UInt8](repeating: 0, count: 64)
        let count = fread(&name, 1, name.count, file)
        let text = String(decoding: name[..<count].filter { $0 >= 0x20 && $0 < 0x7F }, as: UTF8.self)
        return text.isEmpty ? "process \(process)" : "process \(process) (\(text))"
    }

    /// Connects a socket that blocks.
    ///
    /// - Returns: errno; 0 where somebody listens there.
    package static func connect(_ descriptor: CInt, to path: String) -> CInt {
        guard let address = address(path) else { return ENAMETOOLONG }
        return call(address, { Glibc.connect(descriptor, $0, $1) }) == 0 ? 0 : errno
    }

    /// nil where the path is too long for a socket.
    private static func address(_ path: String) -> sockaddr_un? {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let fits = withUnsafeMutableBytes(of: &address.sun_path) { space in
            guard path.utf8.count < space.count else { return false }
            space.copyBytes(from: path.utf8)
            return true
        }
        return fits ? address : nil
    }

    private static func call(
        _ address: sockaddr_un,
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> CInt
    ) -> CInt {
        withUnsafeBytes(of: address) { bytes in
            bytes.withMemoryRebound(to: sockaddr.self) { pointer in
                pointer.baseAddress.map { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) } ?? -1
            }
        }
    }
}

/// Held by the one process that may check a path and bind a socket there. The file exists only that long.
private struct StartLock {
    private let path: String
    private let descriptor: CInt

    /// Waits for the lock: others hold it for a few system calls only, and the kernel releases those of the dead.
    init(_ path: String) throws(SocketError) {
        while true {
            let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
            guard file >= 0 else { throw SocketError("open \(path)") }
            while flock(file, LOCK_EX) != 0 {
                guard errno == EINTR else {
                    defer { close(file) }
                    throw SocketError("lock \(path)")
                }
            }
            // The former holder may have removed the file meanwhile: then this lock protects nothing.
            var held = stat()
            var named = stat()
            if fstat(file, &held) == 0, lstat(path, &named) == 0, held.st_ino == named.st_ino,
                held.st_dev == named.st_dev
            {
                self.path = path
                descriptor = file
                return
            }
            close(file)
        }
    }

    func release() {
        unlink(path)
        close(descriptor)
    }
}
