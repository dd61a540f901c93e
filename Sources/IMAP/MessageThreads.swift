import NIOCore

/// Sorts messages into threads (RFC 5256 §3): first all messages are added, then the threads are made. Message-ids and subjects
/// are kept once each; memory is in proportion to what was added.
package struct MessageThreads: Sendable {
    /// A message or, without a number, one that is only spoken of.
    private struct Node {
        var message: Int32 = -1
        var parent: Int32 = -1
        /// Leads to the root by way of others above it.
        var shortcut: Int32 = -1
    }

    private struct Message {
        var number: UInt32
        /// Seconds since 1970.
        var sent: Int
        var subject: Int32
        var isReply: Bool
        var node: Int32
        /// Its references, in `references`.
        var first: Int32
        var count: Int32
    }

    private let algorithm: ThreadCommand.Algorithm
    private var messages: [Message] = []
    private var nodes: [Node] = []
    private var references: [Int32] = []
    private var identifiers: [[UInt8]: Int32] = [:]
    private var subjects: [[UInt8]: Int32] = [:]
    /// What all of this takes in memory, about. Octets.
    package private(set) var weight = 0

    package init(_ algorithm: ThreadCommand.Algorithm) { self.algorithm = algorithm }

    /// Whether references count, not subjects alone.
    package var usesReferences: Bool { algorithm != .orderedSubject }

    /// Adds a message.
    ///
    /// - Parameters:
    ///   - sent: seconds since 1970.
    ///   - identifier: its Message-ID.
    ///   - ancestors: the identifiers of References, or that of In-Reply-To; the nearest last.
    package mutating func add(
        number: UInt32,
        sent: Int,
        subject: BaseSubject,
        identifier: [UInt8]?,
        ancestors: [[UInt8]]
    ) {
        let first = Int32(references.count)
        var node: Int32 = -1
        if usesReferences {
            for ancestor in ancestors { references.append(self.node(ancestor)) }
            node = identifier.map { self.node($0) } ?? newNode()
            // Of two messages with one identifier, the second is one of its own.
            if nodes[Int(node)].message >= 0 { node = newNode() }
            nodes[Int(node)].message = Int32(messages.count)
        }
        let subjectNumber = Self.number(of: subject.text, in: &subjects, &weight)
        messages.append(
            Message(
                number: number,
                sent: sent,
                subject: subject.text.isEmpty ? -1 : subjectNumber,
                isReply: subject.isReplyOrForward,
                node: node,
                first: first,
                count: Int32(references.count) - first
            )
        )
        weight += 64 + 4 * ancestors.count
    }

    private static func number(of text: [UInt8], in known: inout [[UInt8]: Int32], _ weight: inout Int) -> Int32 {
        if let number = known[text] { return number }
        let number = Int32(known.count)
        known[text] = number
        weight += text.count + 80
        return number
    }

    private mutating func node(_ identifier: [UInt8]) -> Int32 {
        if let known = identifiers[identifier] { return known }
        let node = newNode()
        identifiers[identifier] = node
        weight += identifier.count + 80
        return node
    }

    private mutating func newNode() -> Int32 {
        nodes.append(Node())
        // The node, and its branch and lists of children when threads are made.
        weight += 128
        return Int32(nodes.count - 1)
    }

    // MARK: Linking

    /// The root above a node. What is walked is made shorter for the next time.
    private mutating func root(of node: Int32) -> Int32 {
        var root = node
        while nodes[Int(root)].shortcut >= 0 { root = nodes[Int(root)].shortcut }
        var walked = node
        while nodes[Int(walked)].shortcut >= 0 {
            let next = nodes[Int(walked)].shortcut
            nodes[Int(walked)].shortcut = root
            walked = next
        }
        return root
    }

    /// Makes a node without a parent the child of another, unless that is below it.
    private mutating func link(_ child: Int32, below parent: Int32) {
        guard nodes[Int(child)].parent < 0, root(of: parent) != child else { return }
        nodes[Int(child)].parent = parent
        nodes[Int(child)].shortcut = parent
    }

    /// What a message says of its own parent counts before what others say of it (RFC 5256 §3, step 1).
    private mutating func linkAll() {
        for message in messages where message.count > 0 {
            link(message.node, below: references[Int(message.first + message.count) - 1])
        }
        for message in messages where message.count > 1 {
            for index in Int(message.first) + 1..<Int(message.first + message.count) {
                link(references[index], below: references[index - 1])
            }
        }
    }

    // MARK: Threads

    /// A thread as it is shown: places of `tree`, each with its children. Nodes without a number only hold others together.
    fileprivate struct Branch {
        /// A place in `messages`; -1 for none.
        var message: Int32
        var children: [Int32] = []
        /// When it was sent, or the first below it.
        var sent = 0
        /// The latest of all in it.
        var latest = 0
    }

    /// The threads in their order.
    package struct Forest: Sendable {
        fileprivate var branches: [Branch] = []
        fileprivate var numbers: [UInt32] = []
        package fileprivate(set) var roots: [Int32] = []

        /// Entries of all lists of children: fewer than there are branches, for each is in one list.
        var links: Int { branches.reduce(0) { $0 + $1.children.count } }

        /// Writes one thread (RFC 5256 §4, thread-list), without recursion: threads are as deep as strangers make them.
        package func write(_ root: Int32, to buffer: inout ByteBuffer) {
            enum Step {
                case open(Int32)
                case member(Int32)
                case close
            }
            var steps: [Step] = [.open(root)]
            while let step = steps.popLast() {
                switch step {
                case .open(let branch):
                    buffer.writeInteger(UInt8(ascii: "("))
                    steps += [.close, .member(branch)]
                case .close: buffer.writeInteger(UInt8(ascii: ")"))
                case .member(let index):
                    let branch = branches[Int(index)]
                    if branch.message >= 0 {
                        buffer.writeString(String(numbers[Int(branch.message)]))
                        if !branch.children.isEmpty { buffer.writeInteger(UInt8(ascii: " ")) }
                    }
                    if branch.children.count == 1, branch.message >= 0 {
                        steps.append(.member(branch.children[0]))
                    } else {
                        steps += branch.children.reversed().map { .open($0) }
                    }
                }
            }
        }
    }

    /// Makes the threads. That is one step, whose time is in proportion to what was added but for sorting: whoever limits
    /// `weight` limits it.
    package mutating func finish() -> Forest {
        identifiers = [:]
        var forest = Forest()
        forest.numbers = messages.map(\.number)
        switch algorithm {
        case .orderedSubject: threadBySubject(&forest)
        case .references, .refs: threadByReferences(&forest)
        }
        return forest
    }

    /// RFC 5256 §3, ORDEREDSUBJECT: the first message of a subject, and all others below it.
    private func threadBySubject(_ forest: inout Forest) {
        var threads: [Int32: Int32] = [:]
        for index in messages.indices.sorted(by: { isBefore($0, $1) }) {
            let message = messages[index]
            forest.branches.append(Branch(message: Int32(index), sent: message.sent))
            let branch = Int32(forest.branches.count - 1)
            // Those without a subject have one in common too.
            if let first = threads[message.subject] {
                forest.branches[Int(first)].children.append(branch)
            } else {
                threads[message.subject] = branch
                forest.roots.append(branch)
            }
        }
    }

    private func isBefore(_ one: Int, _ other: Int) -> Bool {
        messages[one].sent != messages[other].sent
            ? messages[one].sent < messages[other].sent : messages[one].number < messages[other].number
    }

    private mutating func threadByReferences(_ forest: inout Forest) {
        linkAll()
        // Every node's place in the tree; children come behind their parents.
        var children = [[Int32]](repeating: [], count: nodes.count)
        var roots: [Int32] = []
        for index in nodes.indices {
            let parent = nodes[index].parent
            if parent >= 0 { children[Int(parent)].append(Int32(index)) } else { roots.append(Int32(index)) }
        }
        var order: [Int32] = []
        order.reserveCapacity(nodes.count)
        var rest = roots
        while let node = rest.popLast() {
            order.append(node)
            rest += children[Int(node)]
        }
        forest.branches = nodes.map { Branch(message: $0.message) }
        // From the leaves up: what is only spoken of goes, and its children take its place (RFC 5256 §3, step 3).
        for node in order.reversed() {
            var kept: [Int32] = []
            for child in children[Int(node)] {
                guard nodes[Int(child)].message < 0 else {
                    kept.append(child)
                    continue
                }
                // The lists move up, the shorter one into the longer; their order comes later.
                var below: [Int32] = []
                swap(&below, &forest.branches[Int(child)].children)
                if below.count > kept.count { swap(&below, &kept) }
                kept += below
            }
            children[Int(node)] = []
            forest.branches[Int(node)].children = kept
        }
        assert(forest.links <= nodes.count)
        for root in roots {
            let branch = forest.branches[Int(root)]
            // At the top it stays where it holds several together.
            if branch.message >= 0 || branch.children.count > 1 {
                forest.roots.append(root)
            } else {
                forest.roots += branch.children
            }
        }
        sortBranches(&forest)
        if algorithm == .references {
            joinSubjects(&forest)
            sortBranches(&forest)
        } else {
            sort(&forest.roots, forest) { $0.latest }
        }
    }

    /// Sorts all children, and the roots, by when they were sent, from the leaves up.
    private func sortBranches(_ forest: inout Forest) {
        var order: [Int32] = []
        var rest = forest.roots
        while let branch = rest.popLast() {
            order.append(branch)
            rest += forest.branches[Int(branch)].children
        }
        for index in order.reversed() {
            var children = forest.branches[Int(index)].children
            sort(&children, forest) { $0.sent }
            var latest = children.map { forest.branches[Int($0)].latest }.max() ?? .min
            let message = forest.branches[Int(index)].message
            let own = message >= 0 ? messages[Int(message)].sent : nil
            latest = max(latest, own ?? .min)
            forest.branches[Int(index)].sent = own ?? children.first.map { forest.branches[Int($0)].sent } ?? 0
            forest.branches[Int(index)].latest = latest
            forest.branches[Int(index)].children = children
        }
        sort(&forest.roots, forest) { $0.sent }
    }

    /// Messages of one second are in the order of their numbers.
    private func sort(_ branches: inout [Int32], _ forest: Forest, by date: (Branch) -> Int) {
        guard branches.count > 1 else { return }
        var keys = branches.map { branch in
            (date: date(forest.branches[Int(branch)]), number: firstNumber(branch, forest), branch: branch)
        }
        keys.sort { $0.date != $1.date ? $0.date < $1.date : $0.number < $1.number }
        branches = keys.map(\.branch)
    }

    private func firstMessage(_ branch: Int32, _ forest: Forest) -> Message? {
        let found = forest.branches[Int(branch)]
        if found.message >= 0 { return messages[Int(found.message)] }
        // Only a root has no message; its children have.
        guard let child = found.children.first, forest.branches[Int(child)].message >= 0 else { return nil }
        return messages[Int(forest.branches[Int(child)].message)]
    }

    private func firstNumber(_ branch: Int32, _ forest: Forest) -> UInt32 {
        firstMessage(branch, forest)?.number ?? 0
    }

    /// Threads of one subject become one (RFC 5256 §3, step 5).
    private func joinSubjects(_ forest: inout Forest) {
        var table: [Int32: Int32] = [:]
        for root in forest.roots {
            guard let message = firstMessage(root, forest), message.subject >= 0 else { continue }
            guard let known = table[message.subject] else {
                table[message.subject] = root
                continue
            }
            let isHolder = forest.branches[Int(root)].message < 0
            let isKnownHolder = forest.branches[Int(known)].message < 0
            let isKnownReply = firstMessage(known, forest)?.isReply == true
            if isHolder && !isKnownHolder || !isKnownHolder && isKnownReply && !message.isReply {
                table[message.subject] = root
            }
        }
        var roots: [Int32] = []
        for root in forest.roots {
            guard let message = firstMessage(root, forest), message.subject >= 0, let target = table[message.subject],
                target != root
            else {
                roots.append(root)
                continue
            }
            let isHolder = forest.branches[Int(root)].message < 0
            let isTargetHolder = forest.branches[Int(target)].message < 0
            let isTargetReply = firstMessage(target, forest)?.isReply == true
            if isTargetHolder {
                forest.branches[Int(target)].children += isHolder ? forest.branches[Int(root)].children : [root]
            } else if message.isReply, !isTargetReply {
                forest.branches[Int(target)].children.append(root)
            } else {
                // Two of equal rank: a new holder takes the place of the one in the table.
                forest.branches.append(forest.branches[Int(target)])
                let moved = Int32(forest.branches.count - 1)
                forest.branches[Int(target)] = Branch(message: -1, children: [moved, root])
            }
        }
        forest.roots = roots
    }
}
