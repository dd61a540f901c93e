import Logging
import NIOCore
import NIOPosix

#if canImport(Glibc)
import Glibc
#endif

/// Keeps the greylist in memory and, within a second or two, in a file: what has changed is appended, and the file is written
/// anew when it has grown too long. What a crash takes costs a sender one more wait. Belongs to one event loop.
final class GreylistStore: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    private let loop: any EventLoop
    private let pool: NIOThreadPool
    private let logger: Logger
    /// nil where nothing can be kept, or must not be written over.
    private let file: String?
    private let directory: String?
    private var list: Greylist
    /// Lines in the file.
    private var linesInFile = 0
    private var saving: EventLoopFuture<Void>?
    private var hasFailed = false
    /// When the expired went last.
    private var cleared = NIODeadline.now()

    private static let clearing = TimeAmount.minutes(10)

    /// - Parameter directory: authd's own; nil for keeping nothing.
    init(
        directory: String?,
        settings: GreylistSettings,
        on loop: any EventLoop,
        pool: NIOThreadPool,
        logger: Logger
    ) {
        self.loop = loop
        self.pool = pool
        self.logger = logger
        self.directory = directory
        list = Greylist(settings)
        guard let path = directory.map(Greylist.file(in:)) else {
            file = nil
            return
        }
        guard let octets = StateFile.octets(path, maximum: Greylist.maximumOctets) else {
            let code = errno
            file = code == ENOENT ? path : nil
            if code != ENOENT {
                logger.error(
                    "cannot read file",
                    metadata: [
                        "file": "\(path)", "reason": "\(String(cString: strerror(code)))",
                        "until-then": "who came back is forgotten at the end; mend it and restart authd",
                    ]
                )
            }
            return
        }
        file = path
        linesInFile = list.read(octets)
        list.forgetChanges()
        // Its end may be a line that was torn.
        if octets.last != UInt8(ascii: "\n"), !octets.isEmpty { list.changeAll() }
    }

    /// How many records there are.
    var count: Int { list.records.count }

    func ask(
        client: [UInt8],
        sender: String,
        recipient: String,
        identities: [String],
        now: Int
    ) -> Greylist.Answer {
        loop.assertInEventLoop()
        return list.ask(client: client, sender: sender, recipient: recipient, identities: identities, now: now)
    }

    func accepted(identities: [String], now: Int) {
        loop.assertInEventLoop()
        list.accepted(identities: identities, now: now)
    }

    func allow(_ text: String, now: Int) -> Bool {
        loop.assertInEventLoop()
        return list.allow(text, now: now)
    }

    func remove(_ text: String) -> Int {
        loop.assertInEventLoop()
        return list.remove(text)
    }

    /// Writes what has changed, on another thread; does nothing while that goes on.
    ///
    /// - Parameter now: seconds since 1970.
    func save(now: Int = time(nil)) {
        loop.assertInEventLoop()
        if .now() - cleared > Self.clearing {
            cleared = .now()
            list.expire(now: now)
        }
        guard saving == nil else { return }
        write()
    }

    /// Writes what has changed, after what is being written.
    ///
    /// - Returns: when it is on disk, or can't be.
    func saveLast() -> EventLoopFuture<Void> {
        loop.assertInEventLoop()
        let before = saving ?? loop.makeSucceededVoidFuture()
        return before.flatMap { [self] in
            write()
            return saving ?? loop.makeSucceededVoidFuture()
        }
    }

    private func write() {
        loop.assertInEventLoop()
        guard let file, let directory else { return list.forgetChanges() }
        guard list.isAllChanged || !list.changed.isEmpty else { return }
        let isAnew = list.isAllChanged || linesInFile / 2 > list.records.count + 1000
        let lines = isAnew ? list.lines : list.changedLines
        list.forgetChanges()
        let octets = Array(lines.map { "\($0)\n" }.joined().utf8)
        let count = isAnew ? lines.count : linesInFile + lines.count
        let isWritten = pool.runIfActive(eventLoop: loop) {
            let table = TableFile(file, likeMissing: "\(directory)/salt-key")
            if isAnew { try table.replace(octets) } else { try table.append(octets) }
        }
        saving = isWritten.map { [self] in
            saving = nil
            hasFailed = false
            linesInFile = count
        }.recover { [self] error in
            saving = nil
            // A part of it may be there, and its end be torn.
            list.changeAll()
            if !hasFailed { logger.error("cannot keep the greylist", metadata: ["reason": "\(error)"]) }
            hasFailed = true
        }
    }
}
